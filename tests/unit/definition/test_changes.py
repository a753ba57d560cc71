"""Changes between versions: the patch makes one document of the other, the sentences tell it by steps."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition.changes import changes

KEYS = st.sampled_from(["step_id", "a", "b/c", "~d", "", "steps"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "y", ""]) | st.just(1.0),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


def applied(document: Any, patch: list[dict[str, Any]]) -> Any:
    """The document after a JSON Patch of add, remove and replace (RFC 6902, section 4)."""
    root = {"": copy.deepcopy(document)}
    for change in patch:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")]
        target: Any = root
        for part in parts[:-1]:
            target = target[int(part) if isinstance(target, list) else part]
        last = parts[-1]
        if isinstance(target, list):
            index = int(last)
            assert str(index) == last
            if change["op"] == "add":
                assert index <= len(target)
                target.insert(index, change["value"])
            elif change["op"] == "remove":
                del target[index]
            else:
                target[index] = change["value"]
        elif change["op"] == "remove":
            del target[last]
        else:
            assert (last in target) == (change["op"] == "replace")
            target[last] = change["value"]
    return root[""]


@given(JSON, JSON)
def test_the_patch_makes_the_second_document_of_the_first(before: Any, after: Any) -> None:
    found = changes(before, after)
    sorted_keys = orjson.OPT_SORT_KEYS
    assert orjson.dumps(applied(before, found.patch), option=sorted_keys) == orjson.dumps(after, option=sorted_keys)
    assert len(found.patch) == len(found.sentences)


@given(JSON)
def test_equal_documents_have_no_changes(document: Any) -> None:
    assert changes(document, copy.deepcopy(document)).patch == []


def test_steps_are_told_apart_by_their_ids() -> None:
    first = {"step_id": "first", "timeouts": {"start_to_close_seconds": 10}}
    second = {"step_id": "second", "prompt": "p"}
    slower = {"step_id": "first", "timeouts": {"start_to_close_seconds": 20}}
    found = changes(
        {"name": "A", "steps": [first, second]},
        {"name": "B", "steps": [{"step_id": "zero"}, slower], "vars": {"n": 1}},
    )
    assert found.sentences == [
        'name changed from "A" to "B"',
        "step 'zero' was added",
        "step 'first': timeouts.start_to_close_seconds changed from 10 to 20",
        "step 'second' was removed",
        'vars was added: {"n":1}',
    ]
    assert found.patch[1] == {"op": "add", "path": "/steps/0", "value": {"step_id": "zero"}}
    assert found.patch[3] == {"op": "remove", "path": "/steps/2"}
