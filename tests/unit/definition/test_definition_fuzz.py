"""Whatever is sent, validation answers with a list."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.definition import validate_definition
from tests.support.properties import looked_through
from tests.unit.definition.documents import document, rich, value

QUIET = looked_through(150)
WORDS = ("steps", "step_id", "step_type", "transform", "switch", "foreach", "loop", "cases", "on_error", "compensate")
EXPRESSIONS = ("{{ steps.x.output }}", "{{", "{{ 1 + }}", "input.a", "", "{{ {a: 1} }}", "*", "~/\u0000", "\ud800")
TEXTS = st.one_of(st.sampled_from(WORDS), st.sampled_from(EXPRESSIONS), st.text(max_size=5))
NUMBERS = st.one_of(st.integers(-(1 << 70), 1 << 70), st.floats(), st.sampled_from([0, -1, 1e308]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=15,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of everything inside a document."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


RICH = rich()
PLACES = list(places(RICH))


def changed(path: tuple[Any, ...], new: Any) -> Any:
    """Return the rich document with something else in one place."""
    found = copy.deepcopy(RICH)
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return found


def answers(sent: Any) -> None:
    found = validate_definition(sent, known_agents=["sales"])
    assert found.valid == (found.compiled is not None) == (found.sha256 is not None)
    for issue in found.errors:
        assert issue.code and issue.message
        assert issue.pointer == "" or issue.pointer.startswith("/")
        assert issue.hint, issue


def test_the_rich_document_is_valid() -> None:
    found = validate_definition(RICH, known_agents=["sales"])
    assert found.errors == []


@QUIET
@given(JSON)
@example(document(value("a", "\ud800")))
@example(document(value("a", float("nan"))))
def test_any_json_is_answered(sent: Any) -> None:
    answers(sent)


@QUIET
@given(st.sampled_from(PLACES), JSON)
def test_a_document_with_one_strange_place_is_answered(path: tuple[Any, ...], new: Any) -> None:
    answers(changed(path, new))


@QUIET
@given(st.lists(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5), max_size=4))
def test_strange_steps_are_answered(steps: list[Any]) -> None:
    answers({"name": "n", "steps": steps})
