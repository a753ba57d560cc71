"""Checks a scenario against the definitions that it is for: every mock must be able to answer something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from orchestrator.definition.compiled import CompiledDefinition, CompiledScope
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.models import (
    Activity,
    AgentTask,
    ApiCall,
    ChildWorkflow,
    ToolCall,
    VectorSearch,
    VectorUpsert,
)
from orchestrator.expressions import suggest
from orchestrator.simulation.library import Library
from orchestrator.simulation.mocks import MOST_ENTRIES, Given, Message, Mock, Scenario

MOCKABLE = (Activity, AgentTask, ApiCall, ChildWorkflow, ToolCall, VectorSearch, VectorUpsert)
Read = TypeVar("Read", bound=Given)
_POSITIONS = re.compile(r"\[\d+\]")


def without_positions(path: str) -> str:
    """Return a step's path without the positions in loops and lists: `rows[3].save` is `rows.save`."""
    return _POSITIONS.sub("", path)


def static_paths(definition: CompiledDefinition) -> dict[str, str]:
    """Return the path, without positions, of every step: to its id."""
    found: dict[str, str] = {}
    pending: list[tuple[CompiledScope, str]] = [(scope, "") for scope in definition.tops()]
    while pending:
        scope, prefix = pending.pop()
        for step_id, step in scope.steps.items():
            path = f"{prefix}.{step_id}" if prefix else step_id
            found[path] = step_id
            for part, inner in step.scopes.items():
                # What undoes a step runs beside it.
                pending.append((inner, prefix if part == "compensate" else path))
    return found


def read_scenario(
    definition: CompiledDefinition,
    library: Library,
    mocks: Any,
    messages: Any,
    unmocked: Any = "echo",
) -> tuple[Scenario, list[Issue]]:
    """Return a scenario, and everything that is wrong with it.

    Args:
        definition: what is simulated.
        library: what its children run.
        mocks: by step, one entry or a list of them.
        messages: what people send.
        unmocked: `echo` or `error`.
    """
    scenario, issues = Scenario(), list[Issue]()
    if unmocked in ("echo", "error"):
        scenario.unmocked = unmocked
    else:
        issues.append(Issue("invalid-value", "'unmocked' is 'echo' or 'error'", "/unmocked"))
    if not isinstance(mocks, Mapping):
        issues.append(Issue("wrong-type", "'mocks' is an object: step path to mocks", "/mocks"))
        mocks = {}
    for key, entries in mocks.items():
        issues += _key_issues(definition, library, str(key))
        scenario.mocks[str(key)] = list(_entries(entries, pointer_to(["mocks", str(key)]), issues))
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        issues.append(Issue("wrong-type", "'messages' is a list", "/messages"))
        messages = []
    for position, entry in enumerate(messages):
        message = _read(Message, entry, f"/messages/{position}", issues)
        if message is not None:
            scenario.messages.append(message)
    return scenario, issues


def _entries(entries: Any, pointer: str, issues: list[Issue]) -> Iterator[Mock]:
    if not isinstance(entries, list):
        found = _read(Mock, entries, pointer, issues)
        if found is not None:
            yield found
        return
    if not 1 <= len(entries) <= MOST_ENTRIES:
        issues.append(Issue("invalid-value", f"a step takes 1 to {MOST_ENTRIES} mocks", pointer))
        return
    for position, entry in enumerate(entries):
        found = _read(Mock, entry, f"{pointer}/{position}", issues)
        if found is not None:
            yield found


def _read(model: type[Read], value: Any, pointer: str, issues: list[Issue]) -> Read | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            issues.append(_issue(model, item["type"], item["loc"], item["msg"], pointer))
        return None


def _issue(model: type[Given], kind: str, place: Sequence[int | str], text: str, pointer: str) -> Issue:
    where, last = pointer_to(place, pointer), str(place[-1]) if place else ""
    message = text.removeprefix("Value error, ").split("\n")[0]
    if kind == "extra_forbidden":
        names = model.model_fields if len(place) == 1 else Mock.model_fields
        near = suggest(last, names)
        hint = f"did you mean '{near}'?" if near else f"known are {', '.join(names)}"
        return Issue("unknown-field", f"unknown field '{last}'", where, hint)
    code = "wrong-type" if kind.endswith("_type") else "missing-field" if kind == "missing" else "invalid-value"
    return Issue(code, f"'{last}': {message}" if last else message, where)


def _key_issues(definition: CompiledDefinition, library: Library, key: str) -> list[Issue]:
    pointer, path, target = pointer_to(["mocks", key]), key, definition
    workflow_id, slash, rest = key.partition("/")
    if slash:
        pinned = next((item for (known, _), item in library.stored.items() if known == workflow_id), None)
        if pinned is None:
            near = suggest(workflow_id, library.ids())
            hint = f"did you mean '{near}/{rest}'?" if near else "name a workflow that a step of this one starts"
            return [Issue("unknown-workflow", f"no child of this workflow runs '{workflow_id}'", pointer, hint)]
        path, target = rest, pinned.compiled
    path, colon, _ = path.partition(":")
    paths = static_paths(target)
    plain = without_positions(path)
    step_id = paths.get(plain) or (plain if plain in target.steps else None)
    if step_id is None:
        near = suggest(plain, [*paths, *target.steps])
        hint = f"did you mean '{near}'?" if near else f"its steps are {', '.join(list(paths)[:10])}"
        return [Issue("unknown-step", f"there is no step '{path}'", pointer, hint)]
    model = target.steps[step_id].model
    if colon and not isinstance(model, AgentTask):
        return [Issue("not-mockable", f"step '{step_id}' is no agent: it calls no tools", pointer)]
    if not isinstance(model, MOCKABLE):
        message = f"step '{step_id}' is a {model.step_type}: it runs as it is and takes no mock"
        return [
            Issue("not-mockable", message, pointer, "mock the steps that reach outside; script signals as messages")
        ]
    return []
