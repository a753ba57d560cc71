"""Validation of a definition: every error and warning at once, each with its pointer and a way out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from orchestrator.definition import limits
from orchestrator.definition.canonical import canonical_sha256, derive_workflow_id
from orchestrator.definition.compiled import (
    CompiledDefinition,
    CompiledStep,
    compile_output,
    compile_step,
    link_scope,
)
from orchestrator.definition.graph import find_cycles
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.models import STEP_TYPES, AgentTask, ApiCall, AtLeast, DocumentHead, Step
from orchestrator.definition.schemas import schema_issues
from orchestrator.definition.structure import check_part
from orchestrator.expressions import ExpressionError, Reference, Template, check_references, suggest

ROOTS = ("input", "vars", "steps", "run")
"""Names that every expression of a definition sees."""


@dataclass(slots=True)
class Validation:
    """What validation found.

    Attributes:
        document: the definition with its `workflow_id` filled in; as sent where there are errors.
        sha256: hash of the canonical JSON; None where there are errors.
        inferred_dependencies: step id to the step ids that its expressions name and `depends_on` does not.
        compiled: ready to run; None where there are errors.
    """

    document: Any
    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    workflow_id: str | None = None
    sha256: str | None = None
    inferred_dependencies: dict[str, list[str]] = field(default_factory=dict)
    compiled: CompiledDefinition | None = None

    @property
    def valid(self) -> bool:
        """Whether the definition may be stored."""
        return not self.errors


def validate_definition(document: Any, *, known_agents: Collection[str] | None = None) -> Validation:
    """Check a definition as far as it can be checked before it runs.

    Args:
        document: any JSON value.
        known_agents: the registered agent types; None where nobody knows them (the check is left out).

    Returns:
        Everything found; never raises for a bad document.
    """
    if not isinstance(document, dict):
        issue = Issue("wrong-type", "a workflow definition is a JSON object", "", 'send {"name": …, "steps": [...]}')
        return Validation(document, [issue])
    return _Validator(document, known_agents).run()


class _Validator:
    """One validation of one document."""

    def __init__(self, document: dict[str, Any], known_agents: Collection[str] | None) -> None:
        self._document = document
        self._known_agents = known_agents
        self._found = Validation(document)
        self._errors = self._found.errors

    def run(self) -> Validation:
        """Check everything, in the order in which people read a document."""
        if not self._check_size():
            return self._found
        head, issues = check_part(DocumentHead, {k: v for k, v in self._document.items() if k != "steps"}, "")
        self._errors += issues
        self._identify()
        models = self._check_steps()
        if head is not None:
            self._check_document_schemas(head)
        self._compile(head or DocumentHead(), models)
        self._finish()
        return self._found

    def _check_size(self) -> bool:
        try:
            size = len(orjson.dumps(self._document))
        except (orjson.JSONEncodeError, TypeError, RecursionError) as error:
            self._errors.append(Issue("invalid-json", f"the definition is not JSON: {error}", ""))
            return False
        if size > limits.DOCUMENT_BYTES:
            message = f"the definition has {size:,} bytes; {limits.DOCUMENT_BYTES:,} are allowed"
            self._errors.append(Issue("document-too-large", message, "", "split it into several workflows"))
            return False
        return True

    def _identify(self) -> None:
        given, name = self._document.get("workflow_id"), self._document.get("name")
        if given is not None:
            self._found.workflow_id = given if isinstance(given, str) else None
            return
        if not isinstance(name, str):
            if name is None:
                hint = 'add "name": "Lead Processing", or a workflow_id such as "lead-processing"'
                self._errors.append(
                    Issue("missing-field", "a definition needs a 'name' or a 'workflow_id'", "/name", hint)
                )
            return
        derived = derive_workflow_id(name)
        if not derived:
            message = f"no workflow_id can be derived from the name {name!r}"
            self._errors.append(
                Issue("invalid-value", message, "/name", "give a 'workflow_id' of a-z, 0-9, '-' and '_'")
            )
            return
        self._found.workflow_id = derived

    def _check_steps(self) -> list[tuple[int, Step]]:
        steps = self._document.get("steps")
        if not isinstance(steps, list):
            code = "missing-field" if steps is None else "wrong-type"
            self._errors.append(Issue(code, "'steps' is a list of steps", "/steps"))
            return []
        if not steps:
            self._errors.append(Issue("too-few-steps", "a definition has at least one step", "/steps"))
        if len(steps) > limits.STEPS:
            message = f"{len(steps):,} steps; {limits.STEPS:,} are allowed"
            self._errors.append(Issue("too-many-steps", message, "/steps", "use child workflows"))
            return []
        found = ((index, self._check_step(raw, f"/steps/{index}")) for index, raw in enumerate(steps))
        return [(index, model) for index, model in found if model is not None]

    def _check_step(self, raw: Any, pointer: str) -> Step | None:
        if not isinstance(raw, dict):
            self._errors.append(Issue("wrong-type", "a step is a JSON object", pointer))
            return None
        kind = raw.get("step_type")
        model_class = STEP_TYPES.get(kind) if isinstance(kind, str) else None
        if model_class is None:
            self._errors.append(_unknown_type(kind, pointer))
            return None
        model, issues = check_part(model_class, raw, pointer)
        self._errors += issues
        return model

    def _check_document_schemas(self, head: DocumentHead) -> None:
        for name, schema in (("input_schema", head.input_schema), ("output_schema", head.output_schema)):
            if schema is not None:
                self._errors += schema_issues(schema, f"/{name}")

    def _compile(self, head: DocumentHead, models: list[tuple[int, Step]]) -> None:
        problems: list[ExpressionError] = []
        steps = [compile_step(model, f"/steps/{index}", problems) for index, model in models]
        output = compile_output(head, problems)
        self._errors += [as_issue(problem) for problem in problems]
        self._check_ids(steps)
        known = self._step_ids()
        for step in steps:
            self._check_one(step, known)
        if output is not None:
            self._check_names(output.references, known, ROOTS)
        scope = link_scope(steps, head.defaults, output)
        self._check_cycles(scope.steps)
        self._warn_of_skipped_reads(scope.steps, output)
        self._found.inferred_dependencies = {
            step_id: list(step.inferred) for step_id, step in scope.steps.items() if step.inferred
        }
        if not self._errors:
            self._found.compiled = CompiledDefinition(head, scope, "")

    def _step_ids(self) -> list[str]:
        raw = self._document.get("steps")
        steps = raw if isinstance(raw, list) else []
        ids = (step.get("step_id") for step in steps if isinstance(step, dict))
        return [step_id for step_id in ids if isinstance(step_id, str)]

    def _check_ids(self, steps: list[CompiledStep]) -> None:
        first: dict[str, str] = {}
        for step in steps:
            if step.step_id in first:
                message = f"step_id '{step.step_id}' is taken by {first[step.step_id]}; ids are unique in a document"
                self._errors.append(Issue("duplicate-step-id", message, f"{step.pointer}/step_id"))
            first.setdefault(step.step_id, step.pointer)

    def _check_one(self, step: CompiledStep, known: list[str]) -> None:
        self._check_dependencies(step, known)
        self._check_join(step)
        self._check_step_names(step, known)
        if isinstance(step.model, AgentTask):
            self._check_agent(step.model, step.pointer)
            if step.model.output_schema is not None:
                self._errors += schema_issues(step.model.output_schema, f"{step.pointer}/output_schema")
        if isinstance(step.model, ApiCall) and step.model.response_schema is not None:
            self._errors += schema_issues(step.model.response_schema, f"{step.pointer}/response_schema")

    def _check_dependencies(self, step: CompiledStep, known: list[str]) -> None:
        ids = frozenset(known)
        for index, dependency in enumerate(step.model.depends_on):
            pointer = f"{step.pointer}/depends_on/{index}"
            if dependency == step.step_id:
                self._errors.append(Issue("self-dependency", f"step '{step.step_id}' depends on itself", pointer))
            elif dependency not in ids:
                near = suggest(dependency, known)
                message = f"step '{step.step_id}' depends on '{dependency}', which is not a step of this definition"
                hint = f"did you mean '{near}'?" if near else f"steps: {_some(known)}"
                self._errors.append(Issue("unknown-step", message, pointer, hint))

    def _check_join(self, step: CompiledStep) -> None:
        join, count = step.model.join, len(frozenset(step.model.depends_on))
        if isinstance(join, AtLeast) and join.at_least > count:
            message = f"at_least {join.at_least} of {count} dependencies can never be met"
            self._errors.append(Issue("join-impossible", message, f"{step.pointer}/join"))
        elif join == "any" and not count:
            message = "join 'any' without depends_on can never be met"
            self._errors.append(
                Issue("join-impossible", message, f"{step.pointer}/join", "list depends_on, or leave join out")
            )

    def _check_step_names(self, step: CompiledStep, known: list[str]) -> None:
        others = [step_id for step_id in known if step_id != step.step_id]
        for reference in step.references:
            if reference.root == "steps" and reference.step_id == step.step_id:
                message = f"step '{step.step_id}' reads itself"
                hint = "its own result is `result`, in `output`"
                self._errors.append(
                    Issue("self-dependency", message, reference.pointer, hint, reference.expression, reference.column)
                )
        foreign = [item for item in step.references if not (item.root == "steps" and item.step_id == step.step_id)]
        inside = [item for item in foreign if item.pointer.startswith(f"{step.pointer}/output")]
        outside = [item for item in foreign if not item.pointer.startswith(f"{step.pointer}/output")]
        self._check_names(tuple(inside), others, (*ROOTS, "result"))
        self._check_names(tuple(outside), others, ROOTS)

    def _check_names(self, references: tuple[Reference, ...], steps: list[str], roots: tuple[str, ...]) -> None:
        self._errors += [as_issue(error) for error in check_references(references, roots=roots, step_ids=steps)]

    def _check_agent(self, model: AgentTask, pointer: str) -> None:
        if self._known_agents is None or model.agent_type in self._known_agents:
            return
        near = suggest(model.agent_type, self._known_agents)
        hint = (
            f"did you mean '{near}'?" if near else f"registered agents: {_some(sorted(self._known_agents)) or 'none'}"
        )
        message = f"no agent '{model.agent_type}' is registered"
        self._errors.append(Issue("unknown-agent", message, f"{pointer}/agent_type", hint))

    def _check_cycles(self, steps: dict[str, CompiledStep]) -> None:
        waits = {step_id: (*step.listed, *step.inferred) for step_id, step in steps.items()}
        for cycle in find_cycles(waits):
            trail = " → ".join([*cycle, cycle[0]])
            message = f"steps wait for each other: {trail}"
            pointer = f"{steps[cycle[0]].pointer}/depends_on"
            self._errors.append(Issue("cycle", message, pointer, "remove one of these dependencies"))

    def _warn_of_skipped_reads(self, steps: dict[str, CompiledStep], output: Template | None) -> None:
        skippable = frozenset(step_id for step_id, step in steps.items() if step.when not in (None, True))
        references = [item for step in steps.values() for item in step.references]
        for item in (*references, *(output.references if output else ())):
            if item.root == "steps" and item.strict and item.step_id in skippable:
                message = f"step '{item.step_id}' may be skipped, and this reads it without a default"
                hint = "a strict read skips the reading step too; write `?.` or `?? …` to read null instead"
                self._found.warnings.append(
                    Issue("skippable-read", message, item.pointer, hint, item.expression, item.column)
                )

    def _finish(self) -> None:
        if self._errors:
            return
        document = {**self._document, "workflow_id": self._found.workflow_id}
        try:
            sha256 = canonical_sha256(document)
        except ValueError as error:
            hint = "numbers are JSON's: integers up to 2**53 - 1; write larger ones as text"
            self._errors.append(Issue("invalid-value", f"the definition has no canonical form: {error}", "", hint))
            self._found.compiled = None
            return
        self._found.document = document
        self._found.sha256 = sha256
        if self._found.compiled is not None:
            self._found.compiled.sha256 = sha256


def _unknown_type(kind: Any, pointer: str) -> Issue:
    known = ", ".join(STEP_TYPES)
    if kind is None:
        return Issue(
            "missing-field", "a step needs a 'step_type'", pointer_to(["step_type"], pointer), f"one of: {known}"
        )
    near = suggest(kind, STEP_TYPES) if isinstance(kind, str) else None
    hint = f"did you mean '{near}'?" if near else f"one of: {known}"
    return Issue("unknown-step-type", f"no step type {kind!r}", pointer_to(["step_type"], pointer), hint)


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def as_issue(error: ExpressionError) -> Issue:
    """Return an expression error as an issue of the document."""
    return Issue(error.code, error.message, error.pointer, error.hint, error.expression, error.column)
