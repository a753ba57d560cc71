"""Pauses, signals and approvals, at the moments at which they are hard."""

from __future__ import annotations

import pytest

from orchestrator.definition.limits import SIGNALS_BUFFERED
from orchestrator.execution import events as ev
from orchestrator.execution.views import signals_of
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, Json, agent, document, foreach, switch, value, wait

PAUSE: ev.Event = ev.PauseRequested("operator")
RESUME: ev.Event = ev.ResumeRequested("operator")


def hear(step_id: str, **fields: object) -> Json:
    return {"step_id": step_id, "step_type": "wait_for_signal", "signal": "s", **fields}


def ask(step_id: str, **fields: object) -> Json:
    return {"step_id": step_id, "step_type": "approval", "title": "t", **fields}


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_nothing_begins_during_a_pause_and_what_is_in_flight_finishes() -> None:
    steps = [agent("a"), agent("b", depends_on=["a"]), foreach("f", "range(0, 3)", agent("c"), max_concurrency=1)]
    driver = MachineDriver(document(*steps), messages=[(0.5, PAUSE), (30.0, RESUME)]).run()
    assert [at for path, at in driver.began if path not in ("a", "f[0].c")] == [30.0, 30.0, 31.0]


def test_a_pause_ends_when_everybody_who_holds_it_let_go() -> None:
    messages = [
        (0.5, PAUSE),
        (0.6, ev.PauseRequested("workflow")),
        (10.0, RESUME),
        (20.0, ev.ResumeRequested("workflow")),
    ]
    driver = MachineDriver(document(agent("a"), agent("b", depends_on=["a"])), messages=messages).run()
    assert dict(driver.began)["b"] == 20.0


def test_a_resume_by_somebody_else_changes_nothing() -> None:
    messages = [(0.5, PAUSE), (5.0, ev.ResumeRequested("workflow")), (10.0, RESUME)]
    driver = MachineDriver(document(agent("a"), agent("b", depends_on=["a"])), messages=messages).run()
    assert dict(driver.began)["b"] == 10.0


def test_a_decision_recorded_during_a_pause_wins_over_a_time_out_that_passed_later() -> None:
    messages = [(1.0, PAUSE), (20.0, ev.ApprovalGiven("q", "approved", "ann")), (30.0, RESUME)]
    driver = MachineDriver(document(ask("q", timeout_seconds=10)), messages=messages).run()
    assert driver.state.outcome == "completed"


def test_a_time_out_that_passed_during_a_pause_is_judged_at_resume() -> None:
    driver = MachineDriver(document(ask("q", timeout_seconds=10)), messages=[(1.0, PAUSE), (30.0, RESUME)]).run()
    assert driver.error_type() == "timeout"
    assert driver.elapsed == 30.0


def test_the_deadline_runs_on_during_a_pause() -> None:
    driver = MachineDriver(document(wait("w"), timeouts={"execution_seconds": 10}), messages=[(1.0, PAUSE)]).run()
    assert driver.error_type() == "execution-timeout"
    assert driver.elapsed == 10.0


def test_a_cancel_ends_a_pause_and_cleans_up() -> None:
    steps = [agent("a", compensate=agent("undo")), wait("w", depends_on=["a"])]
    messages = [(2.0, PAUSE), (3.0, ev.CancelRequested())]
    driver = MachineDriver(document(*steps, on_cancel=[agent("last")]), messages=messages).run()
    assert driver.order == ["a", "undo", "last"]
    assert driver.state.outcome == "cancelled"
    assert driver.elapsed == 5.0


def test_a_cleanup_held_by_a_pause_gets_its_time_after_the_resume() -> None:
    steps = [agent("a", compensate=agent("undo")), agent("bad", depends_on=["a"])]
    messages = [(1.5, PAUSE), (500.0, RESUME)]
    driver = MachineDriver(document(*steps, timeouts={"cleanup_seconds": 10}), {"bad": [BOOM]}, messages=messages).run()
    assert driver.began[-1] == ("undo", 500.0)
    assert driver.error_type() == "boom"


def test_a_cancel_during_a_paused_cleanup_judges_what_fired_meanwhile() -> None:
    steps = [agent("bad")]
    messages = [(1.5, PAUSE), (300.0, ev.CancelRequested())]
    failing = document(*steps, on_failure=[wait("w", 5)], timeouts={"cleanup_seconds": 100})
    driver = MachineDriver(failing, {"bad": [BOOM]}, messages=messages).run()
    assert driver.state.outcome == "failed"
    assert driver.all_states()["w"] == "completed"
    assert driver.elapsed == 300.0


def test_an_execution_may_be_paused_from_its_start() -> None:
    messages = [(9.0, ev.ResumeRequested("workflow"))]
    driver = MachineDriver(document(agent("a")), messages=messages, holds={"workflow": "upgrade"}).run()
    assert driver.began == [("a", 9.0)]


def test_a_pause_reaches_children_and_a_resume_too() -> None:
    child = {"step_id": "c", "step_type": "workflow", "workflow_id": "other"}
    messages = [(1.0, PAUSE), (2.0, RESUME)]
    driver = MachineDriver(document(child), {"c": [Play(seconds=5, result=3)]}, messages=messages).run()
    assert [command.signal for command in driver.commands if hasattr(command, "signal")] == ["pause", "resume"]
    assert driver.state.output == {"c": 3}


# --- signals ----------------------------------------------------------------------------------------------------------


def test_a_message_that_came_in_time_is_judged_even_if_its_check_ends_late() -> None:
    steps = [hear("s", schema={"type": "number"}, timeout_seconds=5, on_error=[{"continue": True}]), wait("w", 9)]
    driver = MachineDriver(document(*steps), messages=[(5.0, ev.SignalReceived("s", 1))]).run()
    assert driver.state.output == {"s": 1, "w": None}


def test_a_message_that_came_in_time_and_is_invalid_leaves_the_time_out() -> None:
    steps = [hear("s", schema={"type": "number"}, timeout_seconds=5), wait("w", 9)]
    driver = MachineDriver(document(*steps), messages=[(5.0, ev.SignalReceived("s", "x"))]).run()
    assert driver.error_type() == "timeout"
    assert driver.elapsed == 5.0


def test_a_wait_that_timed_out_late_and_is_retried_has_its_whole_time_again() -> None:
    steps = [hear("s", schema={"type": "number"}, timeout_seconds=5, on_error=[{"park": True}]), wait("w", 30)]
    # The first comes at the time-out itself, so its check ends late.
    sent = [(5.0, "x"), (11.0, "x"), (12.0, 7)]
    messages = [(at, ev.SignalReceived("s", payload)) for at, payload in sent]
    retry: ev.Event = ev.ParkedStepRepaired("s", "retry")
    driver = MachineDriver(document(*steps), messages=[*messages, (10.0, retry)]).run()
    assert driver.state.output == {"s": 7, "w": None}


def test_an_invalid_message_is_dropped_and_the_next_one_taken() -> None:
    messages = [(1.0, ev.SignalReceived("s", "x")), (2.0, ev.SignalReceived("s", 2))]
    driver = MachineDriver(document(hear("s", schema={"type": "number"})), messages=messages).run()
    assert driver.state.output == {"s": 2}


def test_a_message_is_taken_once_by_the_first_waiter_in_path_order() -> None:
    each = foreach("f", "range(0, 12)", hear("s"), max_concurrency=12)
    messages = [(float(number), ev.SignalReceived("s", number)) for number in range(1, 13)]
    driver = MachineDriver(document(each), messages=messages).run()
    assert driver.state.output == {"f": [{"s": number} for number in range(1, 13)]}


def test_messages_are_kept_and_offered_in_order_when_a_wait_opens() -> None:
    steps = [wait("w", 5), hear("one", depends_on=["w"]), hear("two", depends_on=["one"])]
    messages = [(1.0, ev.SignalReceived("s", "first")), (2.0, ev.SignalReceived("s", "second"))]
    driver = MachineDriver(document(*steps), messages=messages).run()
    assert driver.state.output == {"two": "second"}
    assert driver.elapsed == 5.0


def test_a_message_that_a_waiter_cannot_judge_goes_to_the_next() -> None:
    steps = [hear("picky", accept_when="result.id == 1"), hear("any", when=True)]
    messages = [(1.0, ev.SignalReceived("s", "no id")), (2.0, ev.SignalReceived("s", {"id": 1}))]
    driver = MachineDriver(document(*steps), messages=messages).run()
    assert driver.state.output == {"picky": {"id": 1}, "any": "no id"}


@pytest.mark.parametrize("early", [False, True])
def test_a_message_that_nobody_can_judge_is_kept_whenever_it_comes(early: bool) -> None:
    steps = [
        wait("w", 2),
        hear("picky", accept_when="result.id == 1", depends_on=["w"]),
        hear("any", depends_on=["picky"]),
    ]
    messages = [(1.0 if early else 3.0, ev.SignalReceived("s", "no id")), (4.0, ev.SignalReceived("s", {"id": 1}))]
    driver = MachineDriver(document(*steps), messages=messages).run()
    assert driver.state.output == {"any": "no id"}


def test_a_thousand_messages_are_kept_and_no_more() -> None:
    messages = [(1.0, ev.SignalReceived("s", number)) for number in range(1_005)]
    driver = MachineDriver(document(wait("w", 5)), messages=messages, restore_every=0).run(until=2.0)
    assert [payload for _, payload in driver.state.signals] == list(range(1_000))


# --- approvals --------------------------------------------------------------------------------------------------------


def test_a_quorum_counts_people_and_any_rejection_decides() -> None:
    given = [ev.ApprovalGiven("q", "approved", name) for name in ("ann", "ann", "bob")]
    messages = [(float(number), event) for number, event in enumerate(given, 1)]
    approved = MachineDriver(document(ask("q", quorum=2)), messages=messages).run()
    assert approved.elapsed == 3.0
    rejected = [(1.0, given[0]), (2.0, ev.ApprovalGiven("q", "rejected", "ann"))]
    driver = MachineDriver(document(ask("q", quorum=2)), messages=rejected).run()
    assert driver.error_type() == "approval-rejected"


def test_only_approvers_decide() -> None:
    messages = [(1.0, ev.ApprovalGiven("q", "rejected", "eve")), (2.0, ev.ApprovalGiven("q", "approved", "ann"))]
    driver = MachineDriver(document(ask("q", approvers=["ann"])), messages=messages).run()
    assert driver.state.outcome == "completed"
    assert driver.state.output["q"]["by"] == "ann"


@pytest.mark.parametrize(
    "approvers", ["{{ null }}", "{{ [] }}", "{{ {a: 1} }}", "{{ ['ann', 1] }}", "{{ ['ann', 'ann'] }}"]
)
def test_an_approval_that_nobody_or_anybody_could_decide_fails(approvers: str) -> None:
    driver = MachineDriver(document(ask("q", approvers=approvers, quorum=2))).run()
    assert driver.error_type() == "invalid-step-input"


def test_one_approver_may_be_given_by_a_template() -> None:
    messages = [(1.0, ev.ApprovalGiven("q", "approved", "eve")), (2.0, ev.ApprovalGiven("q", "approved", "ann"))]
    driver = MachineDriver(
        document(ask("q", approvers="{{ input.who }}")), input={"who": "ann"}, messages=messages
    ).run()
    assert driver.elapsed == 2.0


def test_reminders_end_with_the_decision() -> None:
    messages = [(10.0, ev.ApprovalGiven("q", "approved", "ann"))]
    driver = MachineDriver(document(ask("q", remind_every_seconds=3), wait("w", 20)), messages=messages).run()
    cursor = driver.state.scopes[""].steps["q"].cursor
    assert cursor is not None
    assert cursor["reminders"] == 3


def test_an_approval_inside_an_item_is_found_by_its_path() -> None:
    each = foreach("f", "range(0, 2)", switch("b", ask("q")))
    messages = [
        (1.0, ev.ApprovalGiven("f[1].b.q", "approved", "x")),
        (2.0, ev.ApprovalGiven("f[0].b.q", "approved", "y")),
    ]
    driver = MachineDriver(document(each, value("last", "{{ steps.f.output[1].b.q.by }}")), messages=messages).run()
    assert driver.state.output == {"last": "x"}


def test_messages_beyond_the_buffer_are_counted_and_shown() -> None:
    driver = MachineDriver(document(hear("h"), agent("a")), restore_every=0).run(until=0.0)
    for number in range(SIGNALS_BUFFERED + 2):
        driver.feed(ev.SignalReceived("other", number))
    view = signals_of(driver.definition, driver.state)
    assert (view.awaited, view.buffered, view.dropped) == (["s"], SIGNALS_BUFFERED, 2)
    driver.feed(ev.SignalReceived("s", "still heard"))
    assert driver.states()["h"] == "completed"
    assert signals_of(driver.definition, driver.state).awaited == []
