"""Checks one part of a document by its model: pydantic's findings as issues with pointers and hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.definition import limits
from orchestrator.definition.envelope import NOT_TAKEN
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.parts import Part
from orchestrator.expressions import suggest

PartT = TypeVar("PartT", bound=Part)

_JSON_WORDS = {
    "bool_type": "input should be true or false",
    "dict_type": "input should be an object",
    "list_type": "input should be a list",
    "model_type": "input should be an object",
    "string_type": "input should be text",
}
"""Faults that pydantic tells in Python's words, by its names for them."""

_OTHER_WORDS = {
    "depend": "depends_on",
    "needs": "depends_on",
    "if": "when",
    "condition": "when",
    "retries": "retry",
    "retry_policy": "retry",
    "max_retries": "retry",
    "timeout": "timeouts",
    "timeout_seconds": "timeouts",
    "catch": "on_error",
    "type": "step_type",
    "id": "step_id",
}
"""What other languages call fields of ours."""


def check_part(model_class: type[PartT], raw: Mapping[str, Any], pointer: str) -> tuple[PartT | None, list[Issue]]:
    """Validate one part and go on with what is sound in it, so that one fault does not hide the next.

    Args:
        model_class: the part's model.
        raw: the JSON object.
        pointer: where it stands in the document.

    Returns:
        The model, built without the faulty fields (None where a required one is faulty), and every fault.
    """
    try:
        return model_class.model_validate(raw), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    issues = _issues(details, model_class, raw, pointer)
    try:
        return model_class.model_validate(_sound(raw, details)), issues
    except ValidationError:
        return None, issues


def _sound(raw: Mapping[str, Any], details: Iterable[ErrorDetails]) -> dict[str, Any]:
    """Return the part without what is wrong: unknown fields where they stand, other faulty fields as a whole."""
    sound = dict(raw)
    for detail in details:
        path = _real_path(detail, raw)
        if detail["type"] == "extra_forbidden":
            sound = _without(sound, path)
        elif detail["loc"]:
            sound.pop(str(detail["loc"][0]), None)
    return sound


def _without(part: Any, path: list[str | int]) -> Any:
    """Return a copy of the part, along the path, that lacks the path's last key."""
    if not path or not isinstance(part, dict | list):
        return part
    fresh: Any = part.copy()
    if len(path) == 1:
        fresh.pop(path[0], None)
    elif path[0] in fresh if isinstance(fresh, dict) else True:
        fresh[path[0]] = _without(fresh[path[0]], path[1:])
    return fresh


def _issues(details: Iterable[ErrorDetails], model_class: type[Part], raw: Any, pointer: str) -> list[Issue]:
    found: dict[str, Issue] = {}
    for detail in details:
        issue = _issue(detail, model_class, raw, pointer)
        earlier = found.get(issue.pointer)
        if earlier is None:
            found[issue.pointer] = issue
        elif issue.message not in earlier.message:
            found[issue.pointer] = Issue(
                earlier.code, f"{earlier.message}; or {issue.message}", issue.pointer, earlier.hint or issue.hint
            )
    return list(found.values())


def _issue(detail: ErrorDetails, model_class: type[Part], raw: Any, pointer: str) -> Issue:
    kind, where = detail["type"], pointer_to(_real_path(detail, raw), pointer)
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        known = _fields_at(model_class, detail)
        other = _OTHER_WORDS.get(last)
        near = suggest(last, known) or (other if other in known else None)
        return Issue("unknown-field", f"unknown field '{last}'", where, f"did you mean '{near}'?" if near else None)
    if kind == "missing":
        return Issue("missing-field", f"'{last}' is required", where)
    message = _JSON_WORDS.get(kind) or detail["msg"].removeprefix("Value error, ")
    if kind == "literal_error" and detail.get("ctx", {}).get("expected") == "True":
        message = "input should be true"
    if kind == "string_pattern_mismatch":
        value, pattern = _value_at(raw, detail), detail.get("ctx", {}).get("pattern", "")
        most = limits.ID_CHARACTERS.get(pattern)
        if most is not None and len(value) > most:
            return Issue("id-too-long", f"{_shown(value)} has {len(value):,} characters; {most} are allowed", where)
        message = f"{_shown(value)} does not match {pattern}"
    code = "wrong-type" if kind.endswith("_type") else "invalid-value"
    return Issue(code, message[:1].lower() + message[1:], where, "leave it out" if kind == NOT_TAKEN else None)


def _real_path(detail: ErrorDetails, raw: Any) -> list[str | int]:
    """Return the error's path in the document: pydantic adds the names of union members, which are no keys there."""
    path: list[str | int] = []
    place = raw
    for position, part in enumerate(detail["loc"]):
        last = position == len(detail["loc"]) - 1
        inside = (isinstance(place, Mapping) and part in place) or (
            isinstance(place, list) and isinstance(part, int) and part < len(place)
        )
        if inside:
            path.append(part)
            place = place[part]
        elif last and detail["type"] == "missing":
            path.append(part)
    return path


def _value_at(raw: Any, detail: ErrorDetails) -> Any:
    """Return the faulty value; of a faulty key the key itself, which pydantic marks."""
    if len(detail["loc"]) > 1 and detail["loc"][-1] == "[key]":
        return detail["loc"][-2]
    place = raw
    for part in _real_path(detail, raw):
        place = place[part]
    return place


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _fields_at(model_class: type[Part], detail: ErrorDetails) -> list[str]:
    """Return the names allowed where an unknown one stood: those of the part, or of the part inside it."""
    current: type[Part] = model_class
    for part in detail["loc"][:-1]:
        inner = _inner_part(current, str(part))
        if inner is None:
            break
        current = inner
    return [info.alias or name for name, info in current.model_fields.items()]


def _inner_part(model_class: type[Part], name: str) -> type[Part] | None:
    info = model_class.model_fields.get(name)
    if info is None:
        return None
    candidates = getattr(info.annotation, "__args__", (info.annotation,))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, Part)), None)
