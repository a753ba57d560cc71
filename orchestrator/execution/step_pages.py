"""Steps of all scopes in the order of their paths: the open ones and the latest closed ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.messages_steps import StepDetail, StepsAnswer, StepsAsked
from orchestrator.execution.paths import join_path
from orchestrator.execution.state import ExecutionState, ScopeState, StepRecord

_Found = tuple[str, ScopeState, str, StepRecord]
_NUMBERS = re.compile(r"(\d+)")


def steps_answer(definition: CompiledDefinition, state: ExecutionState, asked: StepsAsked) -> StepsAnswer:
    """Answer the query `steps`."""
    if asked.tally:
        return StepsAnswer(tally=_tally(state))
    if asked.path is not None:
        # A path may have been taken anew, by a retry of its block: the latest counts.
        one = [found for found in _all(state) if found[0] == asked.path][-1:]
        return StepsAnswer(steps=[_detail(definition, found, whole=True) for found in one])
    start = path_order(asked.after) if asked.after is not None else None
    latest = {found[0]: found for found in _all(state)}
    paths = sorted((path_order(path), path) for path in latest)
    following = [path for order, path in paths if start is None or order > start]
    page = following[: asked.limit]
    rows = [_detail(definition, latest[path], whole=False) for path in page]
    return StepsAnswer(steps=rows, more=len(following) > len(page))


def path_order(path: str) -> list[tuple[int, str]]:
    """Return what paths are ordered by: `each[2]` comes before `each[10]`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(path)]


def _all(state: ExecutionState) -> Iterator[_Found]:
    for scope in state.scopes.values():
        for step_id, record in scope.steps.items():
            yield join_path(scope.prefix, step_id), scope, step_id, record


def _tally(state: ExecutionState) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for _, _, step_id, record in _all(state):
        counts.setdefault(step_id, Counter())[record.state] += 1
    return {step_id: dict(found) for step_id, found in counts.items()}


def _detail(definition: CompiledDefinition, found: _Found, *, whole: bool) -> StepDetail:
    path, scope, step_id, record = found
    model = definition.steps[step_id].model
    return StepDetail(
        path=path,
        step_id=step_id,
        name=model.label,
        step_type=model.step_type,
        state=record.state,
        attempts=record.attempts,
        started_at=record.started_at,
        finished_at=record.finished_at,
        error=record.error,
        handled=record.handled,
        tolerated=record.tolerated,
        epoch=scope.tries + record.retried,
        awaits=record.awaits,
        output=record.value if whole else None,
    )
