"""What continue-as-new carries: the whole position, large outputs apart and undecoded until they are read."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.execution.messages import Lineage
from orchestrator.execution.state import Compensation, ExecutionState, ScopeState, StepRecord
from orchestrator.workflows.carrying import CHUNK_CHARACTERS, PACKED_BYTES, dump, load

LARGE: dict[str, Any] = {
    "rows": [{"id": n, "text": "größer 🙂 \\ \n"} for n in range(20_000)],
    "empty": [],
    "none": None,
}


def state_with(**outputs: Any) -> ExecutionState:
    steps = {
        name: StepRecord(state="completed", output=value, bytes=len(json.dumps(value)))
        for name, value in outputs.items()
    }
    scopes = {"": ScopeState("", "", "root", "", None, steps), "f[0]": ScopeState("f[0]", "f", "steps", "f[0]", "", {})}
    scopes["f[0]"].steps["inner"] = StepRecord(state="completed", output=LARGE, bytes=PACKED_BYTES)
    return ExecutionState("ex-1", "w", 1, {"n": 1}, {"v": [1]}, Lineage(), scopes=scopes)


def test_a_position_comes_back_whole_and_is_not_changed_by_being_carried() -> None:
    state = state_with(small=1, large=LARGE, text="x" * 300_000, nothing=None)
    chunks = dump(state)
    assert all(len(chunk) <= CHUNK_CHARACTERS for chunk in chunks)
    assert state == state_with(small=1, large=LARGE, text="x" * 300_000, nothing=None)
    carried = load(chunks)
    for scope_id, scope in state.scopes.items():
        for step_id, record in scope.steps.items():
            assert carried.scopes[scope_id].steps[step_id].value == record.output
    assert carried == state


def test_a_large_output_is_decoded_when_it_is_read_and_carried_again_as_it_is() -> None:
    chunks = dump(state_with(small=[1], large=LARGE))
    carried = load(chunks)
    steps = carried.scopes[""].steps
    assert (steps["small"].packed, steps["small"].output) == (None, [1])
    assert steps["large"].packed is not None
    assert dump(carried) == chunks
    assert steps["large"].packed is not None
    assert steps["large"].value == LARGE
    assert steps["large"].output == LARGE


def test_sixty_megabytes_of_small_parts_are_not_decoded_at_once() -> None:
    """Decoded, they are eleven million objects: more than a workflow task can make in its two seconds."""
    rows: list[dict[str, int]] = [{}] * 100_000
    chunks = dump(state_with(first=rows))
    size = len(json.dumps(rows, separators=(",", ":")))
    text = "".join(chunks)
    assert text.endswith(json.dumps(LARGE, separators=(",", ":"), ensure_ascii=False))
    carried = load(chunks).scopes[""].steps["first"]
    assert (carried.output, len(carried.packed or "")) == (None, size)


def test_a_position_from_before_outputs_were_packed_is_read() -> None:
    from pydantic import TypeAdapter

    state = state_with(small=1, large=LARGE)
    assert load([TypeAdapter(ExecutionState).dump_json(state).decode()]) == state


def test_variables_that_many_compensations_saw_are_carried_once() -> None:
    large, other = {"large": "x" * 100_000}, {"large": "x" * 100_000, "n": True}
    seen: list[dict[str, Any]] = [dict(large) for _ in range(100)] + [dict(other), {**other, "n": 1}]
    state = state_with()
    state.compensations = [Compensation("", f"s{n}", {"index": n}, found) for n, found in enumerate(seen)]
    chunks = dump(state)
    assert sum(map(len, chunks)) < 2_500_000
    assert [item.vars for item in state.compensations] == seen
    carried = load(chunks)
    assert carried.compensations == state.compensations
    assert [type(item.vars["n"]) for item in carried.compensations[-2:]] == [bool, int]
    assert dump(carried) == chunks
    # Each is a copy of its own: what one compensation assigns, the next does not see.
    carried.compensations[0].vars["large"] = "small"
    assert carried.compensations[1].vars == large
