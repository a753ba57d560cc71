"""What the step table says of failures that were handled or tolerated."""

from __future__ import annotations

from orchestrator.execution.views import view_of
from tests.support.machine_driver import MachineDriver
from tests.unit.execution.steps import BOOM, agent, document


def test_a_row_says_whether_its_failure_was_handled_or_tolerated() -> None:
    sent = document(
        agent("plain"), agent("handled", on_error=[{"output": 1}]), agent("tolerated", on_error=[{"continue": True}])
    )
    driver = MachineDriver(sent, {"handled": [BOOM], "tolerated": [BOOM]})
    driver.run()
    rows = {row.step_id: row for row in view_of(driver.definition, driver.machine.state).steps}
    assert [(row.state, row.handled, row.tolerated) for row in rows.values()] == [
        ("completed", False, False),
        ("completed", True, False),
        ("failed", False, True),
    ]
    assert rows["plain"].error is None
    kept = [rows[name].error for name in ("handled", "tolerated")]
    assert [error.type for error in kept if error is not None] == ["boom", "boom"]
