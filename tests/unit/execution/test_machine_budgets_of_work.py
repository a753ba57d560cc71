"""What a step may compute as it begins or ends: any number of conditions must not hold an activation for seconds."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.execution import events as ev
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import StartExecution
from tests.support.machine_driver import Ids, compiled
from tests.unit.execution.steps import Json, document, value

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HEAVY = "range(0, 20000).map(i => i * 2).sum()"
"""126,262 units."""


def begun(*steps: Json, patched: bool = True) -> Machine:
    definition = compiled(document(*steps))
    state = new_state(definition, StartExecution(workflow_id="w", input={}), "ex-1", 1)
    machine = Machine(definition, state, Ids(), lambda rule: patched)
    machine.apply(ev.Started(), BEGIN)
    return machine


def choice(cases: int) -> Json:
    return {
        "step_id": "s",
        "step_type": "switch",
        "cases": [{"when": f"{HEAVY} < 0", "steps": []} for _ in range(cases)],
    }


def test_a_switch_with_heavy_conditions_without_end_fails_with_a_limit() -> None:
    machine = begun(choice(200))
    error = machine.state.error
    assert error is not None
    assert (machine.state.outcome, error.type, error.step) == ("failed", "E_LIMIT", "s")
    assert "2,000,000 units" in error.message


def test_a_switch_with_some_heavy_conditions_is_fine_and_so_is_one_from_before_the_rule() -> None:
    assert begun(choice(12)).state.outcome == "completed"
    assert begun(choice(20), patched=False).state.outcome == "completed"


def test_each_step_has_a_budget_of_its_own() -> None:
    steps = [choice(7) | {"step_id": "a"}, choice(14) | {"step_id": "b"}, value("c", f"{{{{ {HEAVY} }}}}")]
    machine = begun(*steps)
    while not machine.closed:
        machine.new_activation()
        machine.apply(ev.TimerFired("~yield"), BEGIN)
    assert machine.state.outcome == "completed"
