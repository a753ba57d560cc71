"""A definition ready to run: expressions compiled, dependencies inferred, defaults applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.definition import limits
from orchestrator.definition.models import (
    AgentTask,
    Defaults,
    Document,
    DocumentHead,
    Retry,
    Step,
    Timeouts,
)
from orchestrator.expressions import (
    Expression,
    ExpressionError,
    Reference,
    Template,
    collect_template_errors,
    compile_expression,
)


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
class CompiledStep:
    """One step of a scope."""

    model: Step
    pointer: str
    when: Expression | bool | None
    inputs: dict[str, Template]
    output: Template | None
    references: tuple[Reference, ...]
    listed: tuple[str, ...] = ()
    inferred: dict[str, bool] = field(default_factory=dict)
    """Steps that the expressions name and `depends_on` does not; True where a reference is strict."""
    retry: RetryRule = field(init=False)
    timeouts: TimeoutRule = field(init=False)
    task_queue: str | None = None

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self.model.step_id


@dataclass(slots=True)
class CompiledScope:
    """A DAG of steps: the root, later also the inside of a block."""

    steps: dict[str, CompiledStep]
    dependents: dict[str, tuple[str, ...]]
    """Who waits for a step, in definition order."""
    sinks: tuple[str, ...]
    output: Template | None


@dataclass(slots=True)
class CompiledDefinition:
    """A whole definition."""

    head: DocumentHead
    root: CompiledScope
    sha256: str

    @property
    def max_parallel(self) -> int:
        """How many activities may be in flight."""
        return self.head.limits.max_parallel_steps if self.head.limits else limits.MAX_PARALLEL_STEPS


def compile_definition(document: Mapping[str, Any], sha256: str) -> CompiledDefinition:
    """Compile a stored (so already valid) document.

    Args:
        document: the definition's JSON.
        sha256: its canonical hash, the key of the workflow's cache.

    Raises:
        pydantic.ValidationError: the document is not a definition.
        ExpressionError: an expression does not compile.
    """
    model = Document.model_validate(document)
    errors: list[ExpressionError] = []
    steps = [compile_step(step, f"/steps/{index}", errors) for index, step in enumerate(model.steps)]
    output = compile_output(model, errors)
    if errors:
        raise errors[0]
    return CompiledDefinition(model, link_scope(steps, model.defaults, output), sha256)


def compile_output(head: DocumentHead, errors: list[ExpressionError]) -> Template | None:
    """Compile the document's `output`, or return None where it is absent."""
    if "output" not in head.model_fields_set:
        return None
    template, found = collect_template_errors(head.output, pointer="/output")
    errors += found
    return template


def compile_step(model: Step, pointer: str, errors: list[ExpressionError]) -> CompiledStep:
    """Compile one step's expressions, adding what does not compile to `errors`."""
    references: list[Reference] = []
    when: Expression | bool | None = model.when if isinstance(model.when, bool) else None
    if isinstance(model.when, str):
        try:
            when = compile_expression(model.when, pointer=f"{pointer}/when")
            references += when.references
        except ExpressionError as error:
            errors.append(error)
    inputs: dict[str, Template] = {}
    for name in model.templates:
        if name not in model.model_fields_set:
            continue
        alias = type(model).model_fields[name].alias or name
        value = _plain(getattr(model, name))
        template = _template(value, f"{pointer}/{alias}", errors)
        if template is not None:
            inputs[name] = template
            references += template.references
    output = None
    if "output" in model.model_fields_set:
        output = _template(model.output, f"{pointer}/output", errors)
        references += output.references if output else ()
    return CompiledStep(model, pointer, when, inputs, output, tuple(references))


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if hasattr(value, "model_dump") else value


def _template(value: Any, pointer: str, errors: list[ExpressionError]) -> Template | None:
    template, found = collect_template_errors(value, pointer=pointer)
    errors += found
    return template


def link_scope(steps: Sequence[CompiledStep], defaults: Defaults | None, output: Template | None) -> CompiledScope:
    """Return the scope of compiled steps: dependencies inferred, dependents and sinks known, policies resolved."""
    by_id = {step.step_id: step for step in steps}
    dependents: dict[str, list[str]] = {step_id: [] for step_id in by_id}
    for step in by_id.values():
        step.listed = tuple(dict.fromkeys(step.model.depends_on))
        step.inferred = infer(step.references, by_id.keys() - {step.step_id}, step.listed)
        step.retry = resolve_retry(step.model, defaults)
        step.timeouts = resolve_timeouts(step.model, defaults)
        step.task_queue = step.model.task_queue or (defaults.task_queue if defaults else None)
        for dependency in (*step.listed, *step.inferred):
            if dependency in dependents:
                dependents[dependency].append(step.step_id)
    sinks = tuple(step_id for step_id, waiting in dependents.items() if not waiting)
    return CompiledScope(by_id, {key: tuple(waiting) for key, waiting in dependents.items()}, sinks, output)


def infer(references: Iterable[Reference], siblings: Iterable[str], listed: Sequence[str]) -> dict[str, bool]:
    """Return the dependencies that references name beyond the listed ones, in order of first mention."""
    known = frozenset(siblings) - frozenset(listed)
    found: dict[str, bool] = {}
    for reference in references:
        if reference.root == "steps" and reference.step_id in known:
            found[reference.step_id] = found.get(reference.step_id, False) or reference.strict
    return found


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def resolve_retry(model: Step, defaults: Defaults | None) -> RetryRule:
    """Return the retry policy of a step: its own fields, then the document's defaults, then the built-in ones."""
    own, shared = model.retry or Retry(), (defaults.retry if defaults else None) or Retry()
    return RetryRule(
        max_attempts=_first(own.max_attempts, shared.max_attempts, limits.MAX_ATTEMPTS),
        initial_interval=_first(
            own.initial_interval_seconds, shared.initial_interval_seconds, limits.INITIAL_INTERVAL_SECONDS
        ),
        backoff=_first(own.backoff_coefficient, shared.backoff_coefficient, limits.BACKOFF_COEFFICIENT),
        max_interval=_first(own.max_interval_seconds, shared.max_interval_seconds, limits.MAX_INTERVAL_SECONDS),
        non_retryable=tuple(_first(own.non_retryable_errors, shared.non_retryable_errors, ())),
    )


def resolve_timeouts(model: Step, defaults: Defaults | None) -> TimeoutRule:
    """Return the timeouts of a step: its own fields, then the document's defaults, then the built-in ones."""
    own, shared = model.timeouts or Timeouts(), (defaults.timeouts if defaults else None) or Timeouts()
    built_in = limits.MODEL_START_TO_CLOSE_SECONDS if isinstance(model, AgentTask) else limits.START_TO_CLOSE_SECONDS
    whole = _first(own.schedule_to_close_seconds, shared.schedule_to_close_seconds, limits.SCHEDULE_TO_CLOSE_SECONDS)
    return TimeoutRule(
        start_to_close=min(_first(own.start_to_close_seconds, shared.start_to_close_seconds, built_in), whole),
        schedule_to_close=whole,
        schedule_to_start=_first(own.schedule_to_start_seconds, shared.schedule_to_start_seconds),
        heartbeat=_first(own.heartbeat_seconds, shared.heartbeat_seconds, limits.HEARTBEAT_SECONDS),
    )
