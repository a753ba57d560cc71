"""A definition ready to run: expressions compiled, dependencies inferred, defaults applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.definition import limits
from orchestrator.definition.models import DocumentHead, Foreach, Loop, Parallel, Step, Switch
from orchestrator.expressions import Expression, Reference, Template

Condition = Expression | bool | None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """A step's retry policy with every default applied; intervals in seconds."""

    max_attempts: int
    initial_interval: float
    backoff: float
    max_interval: float
    non_retryable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeoutRule:
    """A step's timeouts with every default applied, in seconds."""

    start_to_close: float
    schedule_to_close: float
    schedule_to_start: float | None
    heartbeat: float


@dataclass(slots=True)
class CompiledHandler:
    """One entry of a step's `on_error`."""

    errors: tuple[str, ...]
    when: Condition
    action: str
    """`output`, `steps`, `continue` or `park`."""
    output: Template | None
    scope: CompiledScope | None


@dataclass(frozen=True, slots=True)
class References:
    """Names that some expressions use, and what they see beside the names of their scope."""

    items: tuple[Reference, ...]
    extra_names: tuple[str, ...] = ()


@dataclass(slots=True)
class CompiledStep:
    """One step of a scope."""

    model: Step
    pointer: str
    when: Condition = None
    inputs: dict[str, Template] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    output: Template | None = None
    handlers: tuple[CompiledHandler, ...] = ()
    scopes: dict[str, CompiledScope] = field(default_factory=dict)
    """Own scopes, by part: `body`, `case:0`, `default`, `branch:<name>`, `handler:0`, `compensate`."""
    references: list[References] = field(default_factory=list)
    """What the step's own expressions name; those of nested scopes are kept there."""
    outward: tuple[Reference, ...] = ()
    """Every reference to a step outside this step, nested scopes included."""
    listed: tuple[str, ...] = ()
    inferred: dict[str, bool] = field(default_factory=dict)
    """Siblings that the expressions name and `depends_on` does not; True where a reference is strict."""
    retry: RetryRule = field(init=False)
    timeouts: TimeoutRule = field(init=False)
    task_queue: str | None = None

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self.model.step_id

    @property
    def is_block(self) -> bool:
        """Whether the step holds scopes of its own (handlers and compensation aside)."""
        return isinstance(self.model, Switch | Parallel | Foreach | Loop)


@dataclass(slots=True)
class CompiledScope:
    """A DAG of steps: the root, or the inside of a block."""

    owner: str
    """Id of the step that holds the scope; empty for the document's own."""
    part: str
    pointer: str
    steps: dict[str, CompiledStep]
    names: tuple[str, ...] = ()
    """Names that only this scope and those inside it see (`item`, `loop`, `error`, …)."""
    dependents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Who waits for a step, in definition order."""
    sinks: tuple[str, ...] = ()
    output: Template | None = None
    conditions: dict[str, Condition] = field(default_factory=dict)
    """`until` of a loop: it sees the inner scope."""
    references: list[References] = field(default_factory=list)
    """What `output` and `conditions` name."""
    duplicates: list[CompiledStep] = field(default_factory=list)
    """Steps whose id another step of the scope has taken; only validation meets them."""

    def walk(self) -> Iterator[CompiledScope]:
        """Give this scope and every one inside it."""
        pending = [self]
        while pending:
            scope = pending.pop()
            yield scope
            for step in scope.steps.values():
                pending.extend(step.scopes.values())


@dataclass(slots=True)
class CompiledDefinition:
    """A whole definition."""

    head: DocumentHead
    root: CompiledScope
    sha256: str
    on_failure: CompiledScope | None = None
    on_cancel: CompiledScope | None = None
    concurrency_key: Template | None = None
    """None: every execution of the workflow has the same key."""
    scopes: dict[tuple[str, str], CompiledScope] = field(default_factory=dict)
    """Every scope by owner and part."""
    steps: dict[str, CompiledStep] = field(default_factory=dict)
    """Every step by id."""

    def __post_init__(self) -> None:
        for top in self.tops():
            for scope in top.walk():
                self.scopes[scope.owner, scope.part] = scope
                self.steps |= scope.steps

    def tops(self) -> list[CompiledScope]:
        """Return the document's own scopes."""
        return [scope for scope in (self.root, self.on_failure, self.on_cancel) if scope is not None]

    @property
    def max_parallel(self) -> int:
        """How many activities may be in flight."""
        return self.head.limits.max_parallel_steps if self.head.limits else limits.MAX_PARALLEL_STEPS

    @property
    def cleanup_seconds(self) -> float:
        """How long compensation and `on_failure` may take."""
        timeouts = self.head.timeouts
        return (timeouts.cleanup_seconds if timeouts else None) or limits.CLEANUP_SECONDS
