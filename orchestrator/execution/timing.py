"""Timers that fire and pauses that hold them: what fired meanwhile is judged when the last hold goes."""

from __future__ import annotations

from orchestrator.execution.advancing import YIELD_TIMER, Advancing
from orchestrator.execution.blocks import Blocks
from orchestrator.execution.children import Children
from orchestrator.execution.ending import CLEANUP_TIMER, DEADLINE_TIMER, Ending
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.steps import StepEnds
from orchestrator.execution.waiting import Waits


class Timing:
    """Judges timers, now or at the end of a pause.

    Args:
        engine: the shared core.
        ends: fails steps whose time is over.
        blocks: hears of the delays between a loop's iterations.
        waits: hears of the ends of waits.
        children: pause with their parent.
        ending: hears of the execution's own deadlines.
        advancing: hears that it may go on after a yield.
    """

    def __init__(
        self,
        engine: Engine,
        ends: StepEnds,
        blocks: Blocks,
        waits: Waits,
        children: Children,
        ending: Ending,
        advancing: Advancing,
    ) -> None:
        self._engine = engine
        self._ends = ends
        self._blocks = blocks
        self._waits = waits
        self._children = children
        self._ending = ending
        self._advancing = advancing

    # --- timers ---------------------------------------------------------------------------------------------------

    def fired(self, timer_id: str) -> None:
        """Take a timer that fired; one of a step waits for the end of a pause, and for those before it."""
        state = self._engine.state
        if timer_id == YIELD_TIMER:
            self._advancing.yielding = False
        elif timer_id == DEADLINE_TIMER:
            self._ending.deadline()
        elif timer_id == CLEANUP_TIMER:
            self._ending.cleanup_late()
        elif timer_id not in state.timers:
            return
        elif state.holds or state.fired:
            state.fired.append(timer_id)
        else:
            self._judge(timer_id)

    def judge_fired(self) -> None:
        """Judge what fired during a pause, as far as the activation's budget allows."""
        state = self._engine.state
        while state.fired and not state.holds and not self._engine.evaluator.spent:
            timer_id = state.fired.pop(0)
            if timer_id in state.timers:
                self._judge(timer_id)

    def _judge(self, timer_id: str) -> None:
        timer = self._engine.state.timers.pop(timer_id)
        place = self._engine.place(timer.scope_id, timer.step_id)
        if timer.kind == "retry":
            self._engine.begin_again(place, new_keys=True)
        elif timer.kind == "block":
            self._block_late(place)
        elif timer.kind == "delay":
            self._ends.guarded(place, lambda: self._blocks.delay_over(place))
        else:
            self._ends.guarded(place, lambda: self._waits.timer_fired(place, timer.kind))

    def _block_late(self, place: Place) -> None:
        """A block's or child's schedule-to-close passed: what is inside ends, then it fails with `timeout`."""
        seconds = place.step.timeouts.schedule_to_close
        message = f"step '{place.path}': its schedule_to_close_seconds = {seconds:g} passed"
        error = ErrorInfo(type="timeout", message=message, step=place.path, details={"kind": "schedule_to_close"})
        if place.record.child_id is not None:
            self._children.time_out(place, error)
            return
        if not place.record.scopes:
            self._ends.fail(place, error, again=False)
            return
        place.record.error = error
        for scope_id in list(place.record.scopes):
            self._engine.end_scope(self._engine.runs[scope_id], error)

    # --- holds ----------------------------------------------------------------------------------------------------

    def pause(self, holder: str, reason: str) -> None:
        """Put a hold on the execution and on its children."""
        holds = self._engine.state.holds
        if not holds:
            self._children.pass_on("pause", "its parent is paused")
        holds[holder] = reason

    def resume(self, holder: str) -> None:
        """Take a hold away, and go on where it was the last."""
        holds = self._engine.state.holds
        if holds.pop(holder, None) is not None and not holds:
            self.released()

    def released(self) -> None:
        """Go on after the last hold went: judge what fired meanwhile."""
        self._children.pass_on("resume")
        self.judge_fired()
        self._ending.resumed()
