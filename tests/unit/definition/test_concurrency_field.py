"""The document's `concurrency`: its validation, its key, and who is let in."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.definition import validate_definition
from orchestrator.execution.concurrency import AcquireSlot, Places, concurrency_key, gate_id
from orchestrator.expressions import ExpressionError

NOW = "2026-01-01T00:00:00.000Z"


def document(concurrency: Any) -> dict[str, Any]:
    step = {"step_id": "x", "step_type": "transform", "value": 1}
    return {"name": "limited", "steps": [step], "concurrency": concurrency}


def key_of(key: Any, value: Any) -> str:
    compiled = validate_definition(document({"key": key} if key is not None else {})).compiled
    assert compiled is not None
    return concurrency_key(compiled, value)


@pytest.mark.parametrize(
    "concurrency",
    [
        {},
        {"key": "{{ input.customer }}"},
        {"key": "nightly", "max": 3, "on_conflict": "reject"},
        {"on_conflict": "enqueue"},
        {"on_conflict": "cancel_running"},
    ],
)
def test_a_sound_concurrency_is_valid(concurrency: Any) -> None:
    assert validate_definition(document(concurrency)).errors == []


@pytest.mark.parametrize(
    ("concurrency", "pointer", "code"),
    [
        ({"key": "{{ steps.x.output }}"}, "/concurrency/key", "E_NAME"),
        ({"key": "{{ vars.customer }}"}, "/concurrency/key", "E_NAME"),
        ({"key": "{{ secrets.token }}"}, "/concurrency/key", None),
        ({"key": "{{ run.id }}"}, "/concurrency/key", "E_NAME"),
        ({"key": "{{ input. }}"}, "/concurrency/key", "E_SYNTAX"),
        ({"key": ""}, "/concurrency/key", None),
        ({"key": 7}, "/concurrency/key", None),
        ({"max": 0}, "/concurrency/max", None),
        ({"max": 1_001}, "/concurrency/max", None),
        ({"max": "3"}, "/concurrency/max", None),
        ({"on_conflict": "queue"}, "/concurrency/on_conflict", None),
        ({"limit": 3}, "/concurrency/limit", None),
        ("input.customer", "/concurrency", None),
    ],
)
def test_a_faulty_concurrency_is_refused_where_it_is_wrong(concurrency: Any, pointer: str, code: str | None) -> None:
    errors = validate_definition(document(concurrency)).errors
    assert [issue.pointer for issue in errors] == [pointer], [issue.to_dict() for issue in errors]
    assert code is None or errors[0].code == code


def test_a_key_is_text_json_or_a_hash() -> None:
    assert key_of(None, {"customer": "acme"}) == ""
    assert key_of("{{ input.customer }}", {"customer": "acme"}) == "acme"
    assert key_of("{{ input.customer }}", {"customer": {"b": 1, "a": [True, None]}}) == '{"a":[true,null],"b":1}'
    assert key_of("c-{{ input.customer }}", {"customer": 7}) == "c-7"
    assert key_of("{{ input.customer }}", {"customer": "x" * 256}) == "x" * 256
    hashed = key_of("{{ input.customer }}", {"customer": "x" * 257})
    assert hashed.startswith("sha256:")
    assert len(hashed) == 71
    assert hashed != key_of("{{ input.customer }}", {"customer": "x" * 258})
    assert key_of("{{ input.customer }}", {"customer": "a\nb"}).startswith("sha256:")
    with pytest.raises(ExpressionError):
        key_of("{{ input.customer }}", {})


def test_a_gate_id_fits_temporal_and_is_no_other_keys() -> None:
    # Temporal takes 1,000 bytes.
    longest = gate_id("w" * 63, key_of("{{ input }}", "😀" * 256))
    assert len(longest.encode()) <= 1000
    assert gate_id("a", "b/c") != gate_id("a", "b")


def ask(places: Places, name: str, most: int = 1, on_conflict: Any = "enqueue", at: str = "") -> tuple[bool, list[str]]:
    request = AcquireSlot(
        workflow_id="w", key="", execution_id=name, max=most, on_conflict=on_conflict, started_at=at or name
    )
    answer, displaced = places.acquire(request, NOW)
    return answer.granted, displaced


def test_places_go_in_the_order_of_starts_and_asking_again_changes_nothing() -> None:
    places = Places()
    assert ask(places, "a") == (True, [])
    assert ask(places, "c") == (False, [])
    assert ask(places, "b") == (False, [])
    assert ask(places, "b") == (False, [])
    assert ask(places, "a") == (True, [])
    places.release("a")
    assert places.grant(NOW) == ["b"]
    assert places.grant(NOW) == []
    assert [item.execution_id for item in places.queue] == ["c"]
    places.release("c")
    places.release("b")
    assert places.empty


def test_nobody_overtakes_the_queue_with_a_larger_max() -> None:
    places = Places()
    ask(places, "a")
    ask(places, "b")
    assert ask(places, "c", most=3) == (False, [])
    assert ask(places, "d", most=3, on_conflict="reject") == (False, [])
    assert [item.execution_id for item in places.queue] == ["b", "c"]


def test_the_newest_displaces_the_oldest_holders_and_then_those_that_wait() -> None:
    places = Places()
    for name in ("a", "b"):
        ask(places, name, most=2, on_conflict="cancel_running")
    assert ask(places, "c", 2, "cancel_running") == (False, ["a"])
    assert ask(places, "d", 2, "cancel_running") == (False, ["b"])
    # Both places are being freed already: only who waits longest gives way.
    assert ask(places, "e", 2, "cancel_running") == (False, ["c"])
    places.release("a")
    places.release("b")
    assert places.grant(NOW) == ["d", "e"]


def test_an_older_execution_that_asks_later_displaces_nobody_newer() -> None:
    places = Places()
    assert ask(places, "a", 1, "cancel_running") == (True, [])
    assert ask(places, "c", 1, "cancel_running") == (False, ["a"])
    # It started before the one that waits: it gives way itself.
    assert ask(places, "b", 1, "cancel_running") == (False, ["b"])
    places.release("a")
    assert places.grant(NOW) == ["c"]
    assert ask(places, "b", 1, "cancel_running") == (False, ["b"])
    assert ask(places, "d", 1, "cancel_running") == (False, ["c"])
