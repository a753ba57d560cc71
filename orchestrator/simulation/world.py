"""Virtual time, the scenario's answers and what is noted: everything that the executions of a simulation share."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestrator.simulation.library import Library
from orchestrator.simulation.mocks import Mock, Scenario
from orchestrator.simulation.report import MOST_ROWS, SimulatedCall, SimulationReport
from orchestrator.simulation.scenario_check import without_positions

LONGEST = timedelta(days=365_000)
"""What never ends ends after this: later moments cannot be told."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a simulation goes: definitions may come from anybody.

    Attributes:
        events: of all its executions together.
        executions: the execution and its children.
        live_bytes: outputs and variables of all of them.
        expired: whether its time is over; asked before each event.
    """

    events: int = 20_000
    executions: int = 200
    live_bytes: int = 64 * 1024 * 1024
    expired: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class Due:
    """Something that happens later, unless it is dropped."""

    act: Callable[[], None]
    dropped: bool = False


@dataclass
class World:
    """What the executions of one simulation share.

    Attributes:
        now: the virtual time.
        called: how often each step's activity was called.
    """

    workflow_id: str
    scenario: Scenario
    library: Library
    bounds: Bounds
    now: datetime
    report: SimulationReport = field(default_factory=lambda: SimulationReport(status="running"))

    def __post_init__(self) -> None:
        self.began = self.now
        self.called: Counter[str] = Counter()
        self.in_flight = 0
        self._live: dict[str, int] = {}
        self._live_bytes = 0
        self._due: list[tuple[datetime, int, Due]] = []
        self._number = itertools.count()
        self._ids = itertools.count(1)
        self._used: set[str] = set()
        self._unmocked: dict[str, None] = {}

    @property
    def seconds(self) -> float:
        """Virtual seconds since the beginning."""
        return round((self.now - self.began).total_seconds(), 3)

    def fresh_id(self) -> str:
        """Return an id that no other has; the same in every simulation of the same scenario."""
        return f"00000000-0000-4000-8000-{next(self._ids):012d}"

    def named(self, workflow_id: str, path: str) -> str:
        """Return how a scenario and a report name a step: those of children by their workflow too."""
        return path if workflow_id == self.workflow_id else f"{workflow_id}/{path}"

    # --- time -----------------------------------------------------------------------------------------------------

    def later(self, seconds: float, act: Callable[[], None]) -> Due:
        """Have something happen after virtual seconds; at one moment, what was asked for first."""
        due = Due(act)
        delay = min(timedelta(seconds=min(seconds, LONGEST.total_seconds())), LONGEST)
        heapq.heappush(self._due, (self.now + delay, next(self._number), due))
        return due

    def step(self) -> bool:
        """Let the next thing happen; False: nothing is due."""
        while self._due:
            moment, _, due = heapq.heappop(self._due)
            if not due.dropped:
                self.now = moment
                due.act()
                return True
        return False

    def stopped(self) -> bool:
        """Whether a bound is reached; the report tells which."""
        report, bounds = self.report, self.bounds
        if report.executions > bounds.executions:
            report.stopped = "executions"
        elif report.events >= bounds.events:
            report.stopped = "events"
        elif self._live_bytes > bounds.live_bytes:
            report.stopped = "data"
        elif bounds.expired():
            report.stopped = "time"
        return report.stopped is not None

    def holds(self, execution_id: str, live_bytes: int) -> None:
        """Take note of how much data an execution holds."""
        self._live_bytes += live_bytes - self._live.get(execution_id, 0)
        self._live[execution_id] = live_bytes

    # --- answers --------------------------------------------------------------------------------------------------

    def is_mocked(self, workflow_id: str, path: str, step_id: str, tool: str = "") -> bool:
        """Whether the scenario answers for a step, or for a tool call of an agent."""
        return self._key(workflow_id, path, step_id, tool) is not None

    def answer(self, workflow_id: str, path: str, step_id: str, tool: str = "") -> Mock | None:
        """Return how the next attempt goes; None: the scenario does not say.

        Args:
            workflow_id: of the execution.
            path: of the step.
            step_id: of the step.
            tool: the name of an agent's tool.
        """
        name = self.named(workflow_id, path) + (f":{tool}" if tool else "")
        tried = self.called[name]
        self.called[name] += 1
        key = self._key(workflow_id, path, step_id, tool)
        if key is None:
            self._unmocked[name] = None
            return None
        self._used.add(key)
        entries = self.scenario.mocks[key]
        return entries[min(tried, len(entries) - 1)]

    def _key(self, workflow_id: str, path: str, step_id: str, tool: str) -> str | None:
        suffix = f":{tool}" if tool else ""
        for found in (path, without_positions(path), step_id):
            key = self.named(workflow_id, found) + suffix
            if self.scenario.mocks.get(key):
                return key
        return None

    # --- notes ----------------------------------------------------------------------------------------------------

    def note(self, rows: list[Any], row: Any) -> None:
        """Add a row to a list of the report, or count it."""
        if len(rows) < MOST_ROWS:
            rows.append(row)
        else:
            self.report.left_out += 1

    def call_begins(self, call: SimulatedCall) -> None:
        """Take note of an attempt."""
        self.note(self.report.calls, call)
        self.in_flight += 1
        self.report.most_in_flight = max(self.report.most_in_flight, self.in_flight)

    def call_ends(self, call: SimulatedCall, outcome: str, error_type: str | None = None) -> None:
        """Take note of an attempt's end."""
        self.in_flight -= 1
        call.outcome, call.error_type = outcome, error_type  # type: ignore[assignment]
        if outcome == "cancelled":
            self.note(self.report.cancelled_calls, call.path)

    def conclude(self) -> SimulationReport:
        """Complete the report."""
        report = self.report
        report.call_counts = dict(list(self.called.items())[:MOST_ROWS])
        report.unmocked = list(self._unmocked)[:MOST_ROWS]
        report.unused_mocks = [key for key in self.scenario.mocks if key not in self._used]
        report.virtual_seconds = self.seconds
        return report
