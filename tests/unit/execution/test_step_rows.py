"""What the step table says of failures that were handled or tolerated, and what the Web UI shows above it."""

from __future__ import annotations

from orchestrator.execution.views import NOTES, detail_of, markdown_table, status_of, view_of
from tests.support.machine_driver import MachineDriver
from tests.unit.execution.steps import BOOM, agent, document, foreach, value


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


def shown(driver: MachineDriver) -> str:
    """What the Temporal Web UI shows as current details."""
    state = driver.machine.state
    return markdown_table(driver.definition, state, status_of(state), detail_of(state))


def test_the_web_ui_tells_what_an_execution_waits_for() -> None:
    sent = document(
        agent("parked", on_error=[{"park": True}]),
        {"step_id": "sign", "step_type": "approval", "title": "Spend `40`?\nReally?"},
        {"step_id": "hear", "step_type": "wait_for_signal", "signal": "paid"},
        value("after", depends_on=["parked"]),
    )
    told = shown(MachineDriver(sent, {"parked": [BOOM]}).run())
    lines = told.split("\n\n")
    assert lines[0].endswith("· awaiting (operator)")
    assert lines[1].startswith("step `parked` waits for a repair: `boom: ")
    assert lines[2] == "`sign` waits for a decision: `Spend '40'? Really?`"
    assert lines[3] == "waits for the signal `paid`"
    assert "| after | `after` | pending |  |" in lines[4]


def test_the_web_ui_tells_why_and_where_an_execution_failed() -> None:
    told = shown(MachineDriver(document(foreach("each", "[1]", agent("inner"))), {"each[0].inner": [BOOM]}).run())
    assert "· failed\n\nfailed at step `each[0].inner`: `boom: " in told


def test_the_web_ui_tells_of_some_of_many_waits() -> None:
    ask = {"step_id": "sign", "step_type": "approval", "title": "t" * 1_000}
    told = shown(MachineDriver(document(foreach("each", "range(0, 500)", ask, max_concurrency=500))).run())
    assert (told.count("waits for a decision"), "… and more" in told) == (NOTES, True)
    assert len(told) < 20_000
