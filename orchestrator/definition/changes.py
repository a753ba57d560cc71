"""What changed between two JSON documents: a JSON Patch (RFC 6902), and sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import orjson

from orchestrator.definition.issues import pointer_to

_SHOWN = 100


@dataclass(slots=True)
class Changes:
    """All changes, in an order in which the patch applies."""

    patch: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: for the patch, and for people, who count from the step."""

    path: tuple[str | int, ...] = ()
    step: str | None = None
    within: tuple[str | int, ...] = ()

    def at(self, key: str | int) -> _Place:
        return _Place((*self.path, key), self.step, (*self.within, key))

    def in_step(self, index: int, step_id: str) -> _Place:
        return _Place((*self.path, index), step_id)

    @property
    def name(self) -> str:
        field_name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.within).lstrip(".")
        if self.step is None:
            return field_name or "the document"
        return f"step '{self.step}'" + (f": {field_name}" if field_name else "")


def changes(before: Any, after: Any) -> Changes:
    """Return what makes the second document of the first. Steps are told apart by their `step_id`."""
    found = Changes()
    _walk(before, after, _Place(), found)
    return found


def _walk(before: Any, after: Any, place: _Place, found: Changes) -> None:
    if _text(before) == _text(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        _walk_object(before, after, place, found)
    elif isinstance(before, list) and isinstance(after, list):
        _walk_list(before, after, place, found)
    else:
        found.patch.append({"op": "replace", "path": pointer_to(place.path), "value": after})
        found.sentences.append(f"{place.name} changed from {_shown(before)} to {_shown(after)}")


def _walk_object(before: dict[str, Any], after: dict[str, Any], place: _Place, found: Changes) -> None:
    for key in before:
        if key not in after:
            _remove(before[key], place.at(key), found)
    for key, value in after.items():
        if key in before:
            _walk(before[key], value, place.at(key), found)
        else:
            _add(value, place.at(key), found)


def _walk_list(before: Sequence[Any], after: Sequence[Any], place: _Place, found: Changes) -> None:
    matcher = SequenceMatcher(None, [_key(item) for item in before], [_key(item) for item in after], autojunk=False)
    index = 0
    for tag, first, last, start, end in matcher.get_opcodes():
        pairs = 0
        if tag == "equal" or (tag == "replace" and not _has_steps([*before[first:last], *after[start:end]])):
            pairs = min(last - first, end - start)
        for offset in range(pairs):
            _walk(before[first + offset], after[start + offset], _item(place, index, after[start + offset]), found)
            index += 1
        for item in before[first + pairs : last]:
            _remove(item, _item(place, index, item), found)
        for item in after[start + pairs : end]:
            _add(item, _item(place, index, item), found)
            index += 1


def _add(value: Any, place: _Place, found: Changes) -> None:
    found.patch.append({"op": "add", "path": pointer_to(place.path), "value": value})
    whole_step = place.step is not None and not place.within
    found.sentences.append(f"{place.name} was added" + ("" if whole_step else f": {_shown(value)}"))


def _remove(value: Any, place: _Place, found: Changes) -> None:
    found.patch.append({"op": "remove", "path": pointer_to(place.path)})
    whole_step = place.step is not None and not place.within
    found.sentences.append(f"{place.name} was removed" + ("" if whole_step else f"; it was {_shown(value)}"))


def _item(place: _Place, index: int, item: Any) -> _Place:
    step_id = _step_id(item)
    return place.at(index) if step_id is None else place.in_step(index, step_id)


def _key(item: Any) -> str:
    step_id = _step_id(item)
    return f"step {step_id}" if step_id is not None else _text(item)


def _step_id(item: Any) -> str | None:
    step_id = item.get("step_id") if isinstance(item, dict) else None
    return step_id if isinstance(step_id, str) else None


def _has_steps(items: Sequence[Any]) -> bool:
    return any(_step_id(item) is not None for item in items)


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _shown(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
