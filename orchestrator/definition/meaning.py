"""Checks what a well-formed definition means: names, dependencies, joins, agents."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.definition import limits
from orchestrator.definition.advice import some
from orchestrator.definition.block_types import Block
from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep, References
from orchestrator.definition.graph import find_cycles
from orchestrator.definition.issues import Issue
from orchestrator.definition.models import AgentTask, Approval, AtLeast, Finish, Step
from orchestrator.expressions import ExpressionError, Reference, Template, check_references, suggest

ROOTS = ("input", "vars", "steps", "run")
"""Names that every expression of a definition sees."""


def check_meaning(definition: CompiledDefinition, known_agents: Collection[str] | None) -> list[Issue]:
    """Return every error.

    Args:
        definition: compiled, perhaps with stand-ins for faulty steps.
        known_agents: the registered agent types, or None.
    """
    checker = _Checker(known_agents)
    checker.check_ids(definition)
    checker.check_scope(definition.root, _Sight(frozenset(), ROOTS))
    checker.check_key(definition.concurrency_key)
    checker.check_durability(definition.head.durability, "/durability")
    root_steps = frozenset(definition.root.steps)
    for scope in (definition.on_failure, definition.on_cancel):
        if scope is not None:
            checker.check_scope(scope, _Sight(root_steps, ROOTS), cleanup=True)
    return checker.errors


_OF_ITSELF = "a block's own fields do not see the steps inside; its `output` sees its own result as `result`"


class _Sight:
    """What an expression at some place may name."""

    def __init__(self, steps: frozenset[str], names: tuple[str, ...]) -> None:
        self.steps = steps
        self.names = names

    def inside(self, scope: CompiledScope) -> _Sight:
        """Return what the scope's inner expressions see."""
        return _Sight(self.steps | scope.steps.keys(), (*self.names, *scope.names))

    def without(self, step_id: str) -> _Sight:
        """Return what stands inside a step sees: everything but the step itself."""
        return _Sight(self.steps - {step_id}, self.names)


class _Checker:
    def __init__(self, known_agents: Collection[str] | None) -> None:
        self.errors: list[Issue] = []
        self._known_agents = known_agents
        self._suggestions = limits.SUGGESTIONS
        self._owners: dict[str, str] = {}
        """The step whose scope a step is in, by step id; empty for those of the document's own scopes."""

    def check_ids(self, definition: CompiledDefinition) -> None:
        """Ids are unique in the whole document; who holds them is kept for what is said of references."""
        taken: dict[str, str] = {}
        for top in definition.tops():
            for scope in sorted(top.walk(), key=lambda item: item.pointer):
                for step in (*scope.steps.values(), *scope.duplicates):
                    if step.step_id in taken:
                        message = (
                            f"step_id '{step.step_id}' is taken by {taken[step.step_id]}; ids are unique in a document"
                        )
                        self._error("duplicate-step-id", message, f"{step.pointer}/step_id")
                    taken.setdefault(step.step_id, step.pointer)
                    # What undoes a step runs when nothing reads the step any more.
                    self._owners.setdefault(step.step_id, "" if scope.part == "compensate" else scope.owner)

    def check_key(self, key: Template | None) -> None:
        """A concurrency key is known before anything ran: it reads the input alone."""
        if key is None:
            return
        for error in check_references(key.references, roots=("input",), step_ids=()):
            issue = _issue(error)
            hint = "a concurrency key reads `input` alone: it is needed before anything runs"
            self.errors.append(Issue(issue.code, issue.message, issue.pointer, hint, issue.expression, issue.column))

    def check_scope(
        self, scope: CompiledScope, outer: _Sight, depth: int = 1, *, handler: bool = False, cleanup: bool = False
    ) -> None:
        """Check a scope and all that is inside it.

        Args:
            scope: compiled.
            outer: what its block sees.
            depth: how deep it is nested; the root is 1.
            handler: whether it is inside an `on_error` handler.
            cleanup: whether it is inside a compensation or an end scope.
        """
        if depth > limits.NESTING and not scope.steps:
            # Left unread as too deep.
            return
        if depth > limits.NESTING:
            self._error("too-deep", f"scopes are nested {depth} deep; {limits.NESTING} are allowed", scope.pointer)
            return
        inner = outer.inside(scope)
        for group in scope.references:
            self._names(group, inner, None)
        for step in (*scope.steps.values(), *scope.duplicates):
            self._step(step, scope, inner, depth, handler=handler, cleanup=cleanup)
        self._cycles(scope)

    def _step(
        self, step: CompiledStep, scope: CompiledScope, sight: _Sight, depth: int, *, handler: bool, cleanup: bool
    ) -> None:
        self._dependencies(step, scope)
        self._join(step)
        for group in step.references:
            self._names(group, sight, step)
        self._types(step, handler=handler)
        if cleanup and step.model.compensate is not None:
            message = "a step of a compensation, 'on_failure' or 'on_cancel' takes no 'compensate': nothing undoes it"
            self._error("not-in-handler", message, f"{step.pointer}/compensate", "leave it out")
        visible = sight.without(step.step_id) if step.scopes else sight
        for part, inner in step.scopes.items():
            in_handler, undoing = handler or part.startswith("handler:"), cleanup or part == "compensate"
            self.check_scope(inner, visible, depth + 1, handler=in_handler, cleanup=undoing)

    def _types(self, step: CompiledStep, *, handler: bool) -> None:
        model = step.model
        if isinstance(model, AgentTask):
            self._agent(model, step.pointer)
        if isinstance(model, Approval) and isinstance(model.approvers, list):
            # Nobody approves twice.
            people = len(set(model.approvers))
            if model.quorum > people:
                message = f"a quorum of {model.quorum} can never be met by {people} approvers"
                self._error("quorum-impossible", message, f"{step.pointer}/quorum")
        if isinstance(model, Block):
            self.check_durability(model.durability, f"{step.pointer}/durability")
        if handler:
            self._in_handler(model, step.pointer)

    def check_durability(self, durability: str, pointer: str) -> None:
        """Express scopes are not built yet."""
        if durability == "express":
            self._error(
                "not-available", "durability 'express' is not available yet", pointer, 'use "step", the default'
            )

    def _in_handler(self, model: Step, pointer: str) -> None:
        if model.on_error:
            self._error("not-in-handler", "a step inside a handler takes no 'on_error'", f"{pointer}/on_error")
        if model.compensate is not None:
            self._error("not-in-handler", "a step inside a handler takes no 'compensate'", f"{pointer}/compensate")
        if isinstance(model, Finish):
            self._error("not-in-handler", "'finish' does not stand in a handler", f"{pointer}/step_type")

    def _dependencies(self, step: CompiledStep, scope: CompiledScope) -> None:
        for index, dependency in enumerate(step.model.depends_on):
            pointer = f"{step.pointer}/depends_on/{index}"
            if dependency == step.step_id:
                self._error("self-dependency", f"step '{step.step_id}' depends on itself", pointer)
            elif dependency not in scope.steps:
                near = self._near(dependency, scope.steps)
                where = "this definition" if scope.part == "root" else "the same scope"
                message = f"step '{step.step_id}' depends on '{dependency}', which is not a step of {where}"
                hint = f"did you mean '{near}'?" if near else f"steps: {some(scope.steps)}"
                self._error("unknown-step", message, pointer, hint)

    def _join(self, step: CompiledStep) -> None:
        join, count = step.model.join, len(step.listed)
        if isinstance(join, AtLeast) and join.at_least > count:
            message = f"at_least {join.at_least} of {count} dependencies can never be met"
            self._error("join-impossible", message, f"{step.pointer}/join")
        elif join == "any" and not count:
            message = "join 'any' without depends_on can never be met"
            self._error("join-impossible", message, f"{step.pointer}/join", "list depends_on, or leave join out")

    def _near(self, name: str, candidates: Collection[str]) -> str | None:
        """Return what was probably meant; thousands of unknown names get no more than a second of it."""
        self._suggestions -= len(candidates)
        return suggest(name, candidates) if self._suggestions >= 0 else None

    def _names(self, group: References, sight: _Sight, step: CompiledStep | None) -> None:
        if not group.items:
            return
        own = step.step_id if step else None
        for item in group.items:
            if item.root == "steps" and own is not None and item.step_id == own:
                hint = "its own result is `result`, in `output`"
                self.errors.append(_at(item, "self-dependency", f"step '{own}' reads itself", hint))
        foreign = []
        for item in group.items:
            block = self._block_around(item, sight) if item.root == "steps" and item.step_id != own else None
            if block is not None:
                hint = _OF_ITSELF if block == own else f"read steps.{block}.output"
                message = f"step '{item.step_id}' is inside '{block}' and is not seen from here"
                self.errors.append(_at(item, "E_STEP", message, hint))
            elif item.root != "steps" or item.step_id != own:
                foreign.append(item)
        names = (*sight.names, *group.extra_names)
        found = check_references(foreign, roots=names, step_ids=sight.steps, suggestions=self._suggestions)
        self._suggestions -= len(found) * len(sight.steps)
        self.errors += [_issue(error) for error in found]

    def _block_around(self, item: Reference, sight: _Sight) -> str | None:
        """Return the step in sight inside which an existing step is that is out of sight; None for all others."""
        if item.step_id is None or item.step_id in sight.steps:
            return None
        around = self._owners.get(item.step_id)
        while around and around not in sight.steps:
            around = self._owners.get(around)
        return around or None

    def _agent(self, model: AgentTask, pointer: str) -> None:
        if self._known_agents is None or model.agent_type in self._known_agents:
            return
        near = suggest(model.agent_type, self._known_agents)
        hint = f"did you mean '{near}'?" if near else f"registered agents: {some(sorted(self._known_agents)) or 'none'}"
        self._error("unknown-agent", f"no agent '{model.agent_type}' is registered", f"{pointer}/agent_type", hint)

    def _cycles(self, scope: CompiledScope) -> None:
        waits = {step_id: (*step.listed, *step.inferred) for step_id, step in scope.steps.items()}
        for cycle in find_cycles(waits):
            trail = " → ".join([*cycle, cycle[0]])
            pointer = f"{scope.steps[cycle[0]].pointer}/depends_on"
            self._error("cycle", f"steps wait for each other: {trail}", pointer, "remove one of these dependencies")

    def _error(self, code: str, message: str, pointer: str, hint: str | None = None) -> None:
        self.errors.append(Issue(code, message, pointer, hint))


def _at(item: Reference, code: str, message: str, hint: str | None) -> Issue:
    return Issue(code, message, item.pointer, hint, item.expression, item.column)


def _issue(error: ExpressionError) -> Issue:
    return Issue(error.code, error.message, error.pointer, error.hint, error.expression, error.column)
