"""The whole position of an execution, as data: it can be serialised, carried and inspected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json

from orchestrator.execution.budgets import Budget, Ledger
from orchestrator.execution.messages import ErrorInfo, Lineage
from orchestrator.execution.messages_agents import ToolCallRequest, ToolOutcome, TranscriptPart
from orchestrator.execution.messages_ledger import Reservation, SpendTotals

StepState = Literal["pending", "running", "skipped", "completed", "failed", "cancelled"]
TERMINAL: frozenset[str] = frozenset({"skipped", "completed", "failed", "cancelled"})

Outcome = Literal["completed", "failed", "cancelled"]
Phase = Literal["running", "ending", "cleaning", "closing", "closed"]
"""`ending`: nothing new starts, what is in flight is cancelled and awaited; `cleaning`: compensation, `on_failure`,
`on_cancel`; `closing`: the output is being checked."""

ROOT = ""


@dataclass(slots=True)
class ToolCall:
    """One tool call of an agent's present turn."""

    request: ToolCallRequest
    state: Literal["due", "approval", "running", "done"] = "due"
    activity_id: str | None = None
    child_id: str | None = None
    outcome: ToolOutcome | None = None


@dataclass(slots=True)
class AgentLoop:
    """Where an `agent_task` stands between its turns."""

    parameters: Any = None
    session_id: str | None = None
    due: Literal["model", "tools", "summary"] | None = "model"
    """What is to be scheduled next; None while it is in flight or waits for people."""
    held: Literal["activity", "child"] | None = None
    """What tool calls that are due wait for: the cap has no room for more of it."""
    turn: int = 0
    """Number of the model call that is due or in flight, from 0: fallbacks and repairs count."""
    rounds: int = 0
    """How often the model asked for tools."""
    tries: int = 0
    """How often the step was begun again before this loop, as the paths of its approvals say."""
    model_index: int = 0
    repaired: bool = False
    """Whether the present model had its repair turn."""
    sound: int = 0
    """How many parts of the transcript a fallback model shall see: refused answers are left out."""
    transcript: list[TranscriptPart] = field(default_factory=list)
    outcomes: list[ToolOutcome] = field(default_factory=list)
    """Results of the last tool calls; kept until the next sound answer, for a fallback model must be told them too."""
    told: bool = False
    """Whether the present model was told the outcomes: the transcript has them."""
    repair: list[dict[str, Any]] | None = None
    calls: list[ToolCall] = field(default_factory=list)
    called: dict[str, int] = field(default_factory=dict)
    """How often each tool was called with the same arguments, by a hash of both: part of idempotency keys."""
    agent_version: int | None = None
    fallbacks: int = 0
    max_turns: int = 0
    tools_sha256: str | None = None
    approvers: list[str] | None = None
    tried: int = 0
    """Attempts of the present turn that ended before its budget was reserved anew."""
    ask: Reservation | None = None
    """What the next model call reserves; None: nobody knows yet."""
    answered: bool = False
    """The step completes with `answer` once its session is summarised, or cannot be."""
    answer: Any = None
    failure: ErrorInfo | None = None
    """The step fails with this once its tool calls in flight have ended."""
    budget: Budget | None = None
    spent: SpendTotals = field(default_factory=SpendTotals)


@dataclass(slots=True)
class StepRecord:
    """What is known of one step. Times are ISO 8601 in UTC."""

    state: StepState = "pending"
    output: Any = None
    """Read it by `value`."""
    packed: str | None = None
    """The output as JSON, where it was carried and nobody has read it yet."""
    error: ErrorInfo | None = None
    errors: Any = None
    """Contained failures of a block: by branch, or a list of {index, error}."""
    attempts: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    activity_id: str | None = None
    """Set while an activity of the step is in flight."""
    child_id: str | None = None
    """Set while a child execution of the step is awaited."""
    scopes: list[str] = field(default_factory=list)
    """Ids of the step's open scopes."""
    awaits: Literal["signal", "approval", "operator"] | None = None
    """Whom the step waits for."""
    cancelling: bool = False
    handled: bool = False
    bytes: int = 0
    """Size of the output, or of what a block has collected so far."""
    held: int = 0
    """Size of what a block holds beside that: its items, what closed ones assigned, the errors that it contains."""
    tolerated: bool = False
    retried: int = 0
    """How often the step was begun again, by an operator or by a block's `retry`: part of activity ids."""
    epoch: int = 0
    """How often a block's `retry` began it again: part of idempotency keys."""
    inside: int = 0
    """How often steps inside it were begun again; its own next try takes ids and keys beyond theirs."""
    cursor: dict[str, Any] | None = None
    """Position inside a block, a wait or an approval."""
    assigned: dict[str, Any] | None = None
    """What a root step, or something inside it, set in the run's variables."""
    agent: AgentLoop | None = None
    """Position of an agent's loop."""

    @property
    def value(self) -> Any:
        """The output; one that was carried is decoded when it is first read."""
        if self.packed is not None:
            self.output, self.packed = from_json(self.packed), None
        return self.output

    @property
    def flights(self) -> list[str]:
        """Ids of the step's activities and awaited children that are in flight."""
        found = [identifier for identifier in (self.activity_id, self.child_id) if identifier is not None]
        for call in self.agent.calls if self.agent is not None else ():
            found += [identifier for identifier in (call.activity_id, call.child_id) if identifier is not None]
        return found

    @property
    def children(self) -> list[str]:
        """Ids of the step's awaited children."""
        found = [self.child_id] if self.child_id is not None else []
        calls = self.agent.calls if self.agent is not None else ()
        return found + [call.child_id for call in calls if call.child_id is not None]

    @property
    def terminal(self) -> bool:
        """Whether the step's state is final."""
        return self.state in TERMINAL


@dataclass(slots=True)
class ScopeState:
    """The steps of one scope, by id, in definition order."""

    scope_id: str
    """Unique in the execution; the root's is empty."""
    owner: str
    """Id of the step that holds the scope."""
    part: str
    prefix: str
    """What the paths of its steps begin with."""
    parent: str | None
    """Id of the scope that the owner is in; None for the document's own scopes and for compensations."""
    steps: dict[str, StepRecord]
    names: dict[str, Any] = field(default_factory=dict)
    """Values of the names that only this scope sees: `item`, `index`, `loop`, `error`, `result`."""
    vars: dict[str, Any] | None = None
    """What was assigned in a branch or an item; merged into the enclosing variables at the block's end."""
    epoch: int = 0
    tries: int = 0
    """`epoch` and `retried` of all blocks around it, added up."""
    ending: bool = False
    error: ErrorInfo | None = None
    """Why the scope ends early."""
    bytes: int = 0
    """Sizes of what its steps gave and hold, of its own variables and names."""
    sees: str | None = None
    """Id of the scope of the step that a compensation undoes."""

    @property
    def is_handler(self) -> bool:
        """Whether it holds the steps of an error handler."""
        return self.part.startswith("handler:")


@dataclass(slots=True)
class Timer:
    """A timer that is running, or that fired during a pause."""

    kind: str
    scope_id: str
    step_id: str
    due_at: str


@dataclass(slots=True)
class Offer:
    """A search for the wait that takes a message, or for the message that a wait takes; a yield may interrupt it."""

    name: str
    """The signal's."""
    wait: tuple[str, str] | None = None
    """(scope id, step id) of the wait that looks through the kept messages; None: a new message goes round."""
    payload: Any = None
    at: int = 0
    """Number of the kept message that is next."""
    refused: str | None = None
    """Path of the last wait that would not have the new message."""


@dataclass(slots=True)
class Compensation:
    """A step that completed and can be undone, with what it saw."""

    scope_id: str
    step_id: str
    names: dict[str, Any]
    vars: dict[str, Any]
    bytes: int = 0
    """Size of both; variables that are those of the one before count once."""
    same_vars: bool = False
    """While carried: the variables are those of the one before and stand there."""


@dataclass(slots=True)
class ExecutionState:
    """The position of one execution."""

    execution_id: str
    workflow_id: str
    workflow_version: int | None
    input: Any
    vars: dict[str, Any]
    lineage: Lineage
    depth: int = 0
    """How many parents it has."""
    slot: str | None = None
    """Id of the concurrency gate at which it has a place, or queues for one."""
    places: list[str] = field(default_factory=list)
    """Gates at which those who await it have a place."""
    queued: bool = False
    """Whether it still waits for its place."""
    scopes: dict[str, ScopeState] = field(default_factory=dict)
    phase: Phase = "running"
    started_at: str | None = None
    deadline_at: str | None = None
    cleanup_at: str | None = None
    holds: dict[str, str] = field(default_factory=dict)
    """Who paused the execution, and why."""
    ready: list[tuple[str, str]] = field(default_factory=list)
    """(scope id, step id) of steps that may begin: held by a pause or by the cap."""
    timers: dict[str, Timer] = field(default_factory=dict)
    fired: list[str] = field(default_factory=list)
    """Timers that fired during a pause; judged at resume, one after the other."""
    signals: list[tuple[str, Any]] = field(default_factory=list)
    """Messages that nobody has taken yet: (name, payload)."""
    signals_bytes: int = 0
    """Their size."""
    offers: list[Offer] = field(default_factory=list)
    """Searches that are under way, the first one first."""
    signals_dropped: int = 0
    """How many messages found the buffer full."""
    updates: list[str] = field(default_factory=list)
    """Ids of the updates that were taken, the latest last: Temporal knows those of the present run alone."""
    compensations: list[Compensation] = field(default_factory=list)
    compensation_errors: list[ErrorInfo] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    """Paths of the steps whose compensation has begun: a retry runs them again."""
    recovered: bool = False
    """Whether it goes on from an execution that ended: a retry's or a rerun's first position."""
    execution_seconds: float | None = None
    """A bound of this run's time, beside its definition's."""
    detached: list[tuple[str, str]] = field(default_factory=list)
    """Children that are not awaited: (execution id, `on_parent_close`)."""
    budget: Budget | None = None
    ledger: Ledger = field(default_factory=Ledger)
    unaffordable: list[tuple[str, str]] = field(default_factory=list)
    """(scope id, step id) of agents that wait until calls in flight give back what they reserved."""
    child_runs: dict[str, str] = field(default_factory=dict)
    """First runs of the awaited children that have started, by execution id."""
    retained: list[str] = field(default_factory=list)
    """Closed inner scopes that are kept for inspection, oldest first."""
    retained_bytes: int = 0
    """Their size; no part of the live data, for the oldest go when it grows."""
    needed_bytes: int = 0
    """Size of those among them that compensations saw when it was last looked."""
    outcome: Outcome | None = None
    """Decided at the first failure, cancel or end; final once the phase is `closed`."""
    live_bytes: int = 0
    """Sizes of all outputs of open scopes, of variables, and of what else the position holds."""
    finishing: bool = False
    """A `finish` step decided the output."""
    output: Any = None
    error: ErrorInfo | None = None
    event_seq: int = 0
    """Number of the last event that was told to those who watch."""
