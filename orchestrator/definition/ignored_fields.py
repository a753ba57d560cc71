"""Warnings about fields of the envelope that have no effect on a step of its type."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep
from orchestrator.definition.dead_ends import cleaning_scopes
from orchestrator.definition.issues import Issue
from orchestrator.definition.models import Approval, Assign, ChildWorkflow, Fail, Finish, Transform, Wait, WaitForSignal

_PURE = (Transform, Assign, Fail, Finish)
_WAITS = (Wait, WaitForSignal, Approval)
_WHOLE = "schedule_to_close_seconds"


def ignored_fields(scope: CompiledScope) -> Iterator[Issue]:
    """Warn of the fields of one scope's steps that nothing reads."""
    for step in scope.steps.values():
        held, alone = step.is_block or isinstance(step.model, ChildWorkflow), isinstance(step.model, (*_PURE, *_WAITS))
        if held or alone:
            yield from _of_no_activity(step, whole=held)
        if isinstance(step.model, Approval) and step.model.timeout_seconds is None and _given(step, "on_timeout"):
            yield _issue(step, "on_timeout", "it has no 'timeout_seconds'", "add timeout_seconds, or leave it out")
        if isinstance(step.model, ChildWorkflow) and step.model.wait and _given(step, "on_parent_close"):
            why = "an awaited child is cancelled with its step"
            yield _issue(step, "on_parent_close", why, 'it belongs to "wait": false')
        yield from _unreached_handlers(step)


def ends_that_end_nothing(definition: CompiledDefinition) -> Iterator[Issue]:
    """Warn of every `finish` that runs when the outcome is decided already."""
    late = cleaning_scopes(definition)
    scopes = [scope for top in definition.tops() for scope in top.walk() if scope.pointer in late]
    for scope in sorted(scopes, key=lambda scope: scope.pointer):
        for step in scope.steps.values():
            if isinstance(step.model, Finish):
                message = f"'finish' step '{step.step_id}' ends nothing: cleaning up never changes the outcome"
                hint = "use a transform, or leave it out"
                yield Issue("no-effect", message, f"{step.pointer}/step_type", hint)


def _of_no_activity(step: CompiledStep, *, whole: bool) -> Iterator[Issue]:
    kind = step.model.step_type
    for name in ("task_queue", "priority"):
        if _given(step, name):
            yield _issue(step, name, f"a step of type '{kind}' runs no activity", "leave it out")
    if _given(step, "retry") and isinstance(step.model, _PURE):
        yield _issue(step, "retry", f"a step of type '{kind}' makes no attempts", "leave it out")
    timeouts = step.model.timeouts
    for name in sorted(timeouts.model_fields_set) if timeouts is not None else ():
        if not (whole and name == _WHOLE):
            if whole:
                hint = f"{_WHOLE} bounds it with all its tries"
            else:
                hint = (
                    "timeout_seconds bounds it" if isinstance(step.model, WaitForSignal | Approval) else "leave it out"
                )
            yield _issue(step, f"timeouts/{name}", f"a step of type '{kind}' runs no activity", hint)


def _given(step: CompiledStep, name: str) -> bool:
    return name in step.model.model_fields_set and getattr(step.model, name) is not None


def _unreached_handlers(step: CompiledStep) -> Iterator[Issue]:
    """Warn of handlers behind one that takes every error."""
    taken: int | None = None
    for index, handler in enumerate(step.handlers):
        if taken is not None and handler.errors != ("cancelled",):
            message = f"handler {index} of step '{step.step_id}' is never reached: handler {taken} takes every error"
            pointer = f"{step.pointer}/on_error/{index}"
            yield Issue("unreachable-handler", message, pointer, "put the handler for '*' last")
        elif taken is None and "*" in handler.errors and handler.when in (None, True):
            taken = index


def _issue(step: CompiledStep, field: str, why: str, hint: str) -> Issue:
    name = field.replace("/", ".")
    return Issue(
        "no-effect", f"'{name}' of step '{step.step_id}' has no effect: {why}", f"{step.pointer}/{field}", hint
    )
