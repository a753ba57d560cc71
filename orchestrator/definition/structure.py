"""Reads a document into models and goes on after a fault, so that one fault does not hide the next."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from orchestrator.definition import limits
from orchestrator.definition.envelope import ScopePath, Step
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.models import STEP_TYPES, Document, DocumentHead, EndScope, Transform
from orchestrator.definition.part_check import check_part
from orchestrator.expressions import suggest

_STEP_ID = re.compile(limits.STEP_ID_PATTERN)
_DUMMY = {"step_id": "dummy", "step_type": "transform", "value": None}
_END_SCOPES = ("on_failure", "on_cancel")


class DocumentReader:
    """Reads one document.

    Attributes:
        issues: what is wrong with its shape.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.issues: list[Issue] = []
        self._document = document
        self._faulty: list[str] = []
        self._count = 0

    def read(self) -> Document:
        """Return the document's model, with stand-ins for what is faulty in it."""
        head_raw = {key: value for key, value in self._document.items() if key not in ("steps", *_END_SCOPES)}
        head, issues = check_part(DocumentHead, head_raw, "")
        self.issues += [_perhaps_steps(issue) for issue in issues]
        steps = self._steps(self._document.get("steps"), "/steps", "a definition")
        ends = {name: self._end(name) for name in _END_SCOPES if self._document.get(name) is not None}
        if self._count > limits.STEPS:
            message = f"{self._count:,} steps; {limits.STEPS:,} are allowed"
            self.issues.append(Issue("too-many-steps", message, "/steps", "use child workflows"))
        fields = {name: getattr(head, name) for name in head.model_fields_set} if head is not None else {}
        given = {*fields, "steps", *ends}
        return Document.model_construct(_fields_set=given, **{**fields, "steps": steps, **ends})

    def is_faulty(self, pointer: str) -> bool:
        """Whether a pointer leads into a step that a stand-in stands for."""
        return any(pointer == faulty or pointer.startswith(f"{faulty}/") for faulty in self._faulty)

    def _end(self, name: str) -> EndScope | list[Step]:
        raw = self._document[name]
        if isinstance(raw, Mapping):
            self.issues += check_part(EndScope, {**raw, "steps": [_DUMMY]}, f"/{name}")[1]
            steps = self._steps(raw.get("steps"), f"/{name}/steps", f"'{name}'")
            return EndScope.model_construct(steps=cast(Any, steps))
        return self._steps(raw, f"/{name}", f"'{name}'")

    def _steps(self, raw: Any, pointer: str, what: str, *, may_be_empty: bool = False, depth: int = 1) -> list[Step]:
        if not isinstance(raw, list):
            code = "missing-field" if raw is None else "wrong-type"
            self.issues.append(Issue(code, "'steps' is a list of steps", pointer))
            return []
        if not raw and not may_be_empty:
            self.issues.append(Issue("too-few-steps", f"{what} has at least one step", pointer))
        self._count += len(raw)
        if self._count > limits.STEPS:
            return []
        if depth > limits.NESTING:
            message = f"scopes are nested over {limits.NESTING} deep"
            self.issues.append(Issue("too-deep", message, pointer, "use a child workflow"))
            return []
        return [self._step(item, f"{pointer}/{index}", depth) for index, item in enumerate(raw)]

    def _step(self, raw: Any, pointer: str, depth: int) -> Step:
        if not isinstance(raw, Mapping):
            self.issues.append(Issue("wrong-type", "a step is a JSON object", pointer))
            return self._stand_in({}, pointer)
        kind = raw.get("step_type")
        model_class = STEP_TYPES.get(kind) if isinstance(kind, str) else None
        if model_class is None:
            self.issues.append(_unknown_type(kind, pointer))
            return self._stand_in(raw, pointer)
        shallow, inner = self._take_inner(raw, model_class, pointer, depth)
        model, issues = check_part(model_class, shallow, pointer)
        self.issues += issues
        if model is None:
            return self._stand_in(raw, pointer)
        for path, steps in inner:
            model = cast(Step, _with_steps(model, path, steps))
        return model

    def _take_inner(
        self, raw: Mapping[str, Any], model_class: type[Step], pointer: str, depth: int
    ) -> tuple[dict[str, Any], list[tuple[ScopePath, Any]]]:
        """Read the steps inside a step; return it with a dummy in each place, and what belongs there."""
        shallow = dict(raw)
        inner: list[tuple[ScopePath, Any]] = []
        for path in _holders(model_class, raw):
            holder = _at(raw, path)
            if not isinstance(holder, Mapping) or "steps" not in holder:
                continue
            where = pointer_to([*path, "steps"], pointer)
            optional = path[:1] in (("cases",), ("default",))
            steps = self._steps(holder["steps"], where, "this scope", may_be_empty=optional, depth=depth + 1)
            shallow = _replaced(shallow, [*path, "steps"], [_DUMMY])
            inner.append((path, steps))
        undo = raw.get("compensate")
        if undo is not None:
            self._count += 1
            found = self._step(undo, f"{pointer}/compensate", depth + 1)
            shallow["compensate"] = _DUMMY
            inner.append((("compensate",), found))
        return shallow, inner

    def _stand_in(self, raw: Mapping[str, Any], pointer: str) -> Step:
        self._faulty.append(pointer)
        step_id, depends_on = raw.get("step_id"), raw.get("depends_on")
        if not isinstance(step_id, str) or not _STEP_ID.match(step_id):
            step_id = f"__faulty_{len(self._faulty)}"
        names = [item for item in depends_on if isinstance(item, str)] if isinstance(depends_on, list) else []
        return Transform(step_id=step_id, step_type="transform", value=None, depends_on=names)


def _perhaps_steps(issue: Issue) -> Issue:
    """Return an issue of the document's head, which is read without its steps, with the hint that lacks for them."""
    if issue.code == "unknown-field" and issue.hint is None and suggest(issue.pointer[1:], ("steps",)):
        return replace(issue, hint="did you mean 'steps'?")
    return issue


def _holders(model_class: type[Step], raw: Mapping[str, Any]) -> Iterator[ScopePath]:
    yield from (path for _, path in model_class.inner_scopes(raw))
    handlers = raw.get("on_error")
    for index in range(len(handlers) if isinstance(handlers, list) else 0):
        yield ("on_error", index)


def _at(raw: Any, path: ScopePath) -> Any:
    for key in path:
        raw = raw[key]
    return raw


def _replaced(raw: Any, path: list[str | int], value: Any) -> Any:
    """Return a copy of `raw` along `path` with another value at its end."""
    if not path:
        return value
    fresh = copy.copy(raw)
    fresh[path[0]] = _replaced(raw[path[0]], path[1:], value)
    return fresh


def _with_steps(part: Any, path: ScopePath, steps: Any) -> Any:
    """Return the model with its dummy at `path` replaced; a part that was dropped as faulty keeps nothing."""
    if path == ("compensate",):
        return part.model_copy(update={"compensate": steps}) if part.compensate is not None else part
    if not path:
        return part.model_copy(update={"steps": steps})
    head, rest = path[0], path[1:]
    held: Any = part[cast(Any, head)] if isinstance(part, list | dict) else getattr(part, str(head), None)
    if held is None or (isinstance(held, list) and rest and isinstance(rest[0], int) and rest[0] >= len(held)):
        return part
    fresh = _with_steps(held, rest, steps)
    if isinstance(part, list | dict):
        copied: Any = copy.copy(part)
        copied[head] = fresh
        return copied
    return part.model_copy(update={str(head): fresh})


def _unknown_type(kind: Any, pointer: str) -> Issue:
    known = ", ".join(STEP_TYPES)
    where = f"{pointer}/step_type"
    if kind is None:
        return Issue("missing-field", "a step needs a 'step_type'", where, f"one of: {known}")
    near = suggest(kind, STEP_TYPES) if isinstance(kind, str) else None
    hint = f"did you mean '{near}'?" if near else f"one of: {known}"
    return Issue("unknown-step-type", f"no step type {kind!r}", where, hint)
