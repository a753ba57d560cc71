"""Lets ready steps begin and agents go on, as far as pauses, the cap and the activation's budget allow."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.definition.limits import CHILDREN_IN_FLIGHT
from orchestrator.execution.beginning import takes
from orchestrator.execution.commands import StartTimer
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.finish_order import before_finish
from orchestrator.execution.ready_queue import Takes

YIELD_TIMER = "~yield"
CAP_COUNTS_ACTIVITIES = "cap-counts-activities"
"""Before this rule everything in flight counted, and one step without room held all behind it."""
PAYLOAD_BYTES_PER_ACTIVATION = 2 * 1024 * 1024
"""Temporal refuses commands over 4 MB in one workflow task by failing it for ever: the machine yields before."""
_BEGINNING = ("running", "cleaning")
"""Phases in which steps begin."""


class Advancing:
    """Takes steps from the ready queue.

    Args:
        engine: the shared core.
        max_parallel: activities in flight at most.
        patched: whether this execution follows a rule that came later.
        begin: begins a step.
        go_on: lets an agent take its next turn.
        left_over: whether events have left something to do that waits for the next activation.

    Attributes:
        yielding: the activation's budget is spent; the next timer goes on.
        draining: nothing new begins, so that what is in flight comes to its end.
    """

    def __init__(
        self,
        engine: Engine,
        max_parallel: int,
        patched: Callable[[str], bool],
        begin: Callable[[Place], None],
        go_on: Callable[[Place], None],
        left_over: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._max_parallel = max_parallel
        self._patched = patched
        self._begin = begin
        self._go_on = go_on
        self._left_over = left_over
        self._overtakes: bool | None = None
        """Whether steps that need no room pass those that do; asked when it first matters."""
        self.yielding = False
        self.draining = False

    def advance(self) -> None:
        """Start what is ready, as far as pauses, the cap and the activation's budget allow."""
        self._begin_ready()
        if self._left_over() and not self.yielding:
            self._yield()

    def _begin_ready(self) -> None:
        engine = self._engine
        while engine.ready and self._may_begin():
            if engine.evaluator.exhausted or engine.payload_bytes >= PAYLOAD_BYTES_PER_ACTIVATION:
                self._yield()
                return
            at_cap = len(engine.in_flight) >= self._max_parallel
            taken = None if at_cap and self._overtakes is False else engine.ready.take(self._takes, self._full())
            if taken is None:
                return
            taken = before_finish(engine, taken, self._patched)
            scope_id, step_id = taken[1]
            if scope_id not in engine.runs:
                continue
            if at_cap and not self._may_overtake():
                engine.ready.put_back(taken)
                return
            place = engine.place(scope_id, step_id)
            if place.record.state == "pending":
                self._begin(place)
            elif place.record.agent is not None:
                self._go_on(place)

    def _yield(self) -> None:
        self.yielding = True
        self._engine.commands.append(StartTimer(YIELD_TIMER, 0.001, "yield"))

    def _takes(self, entry: tuple[str, str]) -> Takes | None:
        run = self._engine.runs.get(entry[0])
        if run is None:
            return None
        loop = run.state.steps[entry[1]].agent
        held = loop.held if loop is not None else None
        return held or takes(run.compiled.steps[entry[1]])

    def _full(self) -> list[Takes]:
        """Say what there is no room for: children have their own, so that waiting for them stops no activity."""
        flying = self._engine.in_flight
        full: list[Takes] = ["activity"] if flying.activities >= self._max_parallel else []
        return [*full, "child"] if len(flying.children) >= CHILDREN_IN_FLIGHT else full

    def _may_overtake(self) -> bool:
        if self._overtakes is None:
            self._overtakes = self._patched(CAP_COUNTS_ACTIVITIES)
        return self._overtakes

    def _may_begin(self) -> bool:
        return (
            self._engine.state.phase in _BEGINNING
            and not self._engine.state.holds
            and not self.yielding
            and not self.draining
        )
