"""Validation of a definition: every error and warning at once, each with its pointer and a way out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from orchestrator.definition import limits
from orchestrator.definition.advice import advise
from orchestrator.definition.canonical import canonical_sha256, derive_workflow_id
from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.compiler import compile_document
from orchestrator.definition.issues import Issue
from orchestrator.definition.meaning import check_meaning
from orchestrator.definition.models import Document
from orchestrator.definition.schemas import schema_issues
from orchestrator.definition.structure import DocumentReader
from orchestrator.definition.tags import tag_key_issues
from orchestrator.expressions import ExpressionError


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
    found = Validation(document)
    if not isinstance(document, dict):
        hint = 'send {"name": …, "steps": [...]}'
        found.errors.append(Issue("wrong-type", "a workflow definition is a JSON object", "", hint))
        return found
    too_large = _size_issue(document)
    if too_large is not None:
        found.errors = _with_hints([too_large])
        return found
    reader = DocumentReader(document)
    model = reader.read()
    found.errors += reader.issues
    _identify(document, found)
    found.errors += _tags_issues(model.tags)
    for name in ("input_schema", "output_schema"):
        if document.get(name) is not None:
            found.errors += schema_issues(document[name], f"/{name}")
    _check(model, reader, found, known_agents)
    _finish(document, found)
    found.errors = _with_hints(found.errors)
    return found


def _size_issue(document: dict[str, Any]) -> Issue | None:
    try:
        size = len(orjson.dumps(document))
    except (orjson.JSONEncodeError, TypeError, RecursionError) as error:
        return Issue("invalid-json", f"the definition is not JSON: {error}", "")
    if size <= limits.DOCUMENT_BYTES:
        return None
    message = f"the definition has {size:,} bytes; {limits.DOCUMENT_BYTES:,} are allowed"
    return Issue("document-too-large", message, "", "split it into several workflows")


def _tags_issues(tags: dict[str, str]) -> list[Issue]:
    size = len(orjson.dumps([f"{key}={value}" for key, value in tags.items()]))
    if not tags or size <= limits.TAGS_BYTES:
        return tag_key_issues(tags)
    message = f"the tags are together {size:,} bytes; {limits.TAGS_BYTES:,} are allowed, those of a start included"
    return [*tag_key_issues(tags), Issue("tags-too-large", message, "/tags", "use fewer or shorter tags")]


def _identify(document: dict[str, Any], found: Validation) -> None:
    given, name = document.get("workflow_id"), document.get("name")
    if given is not None:
        found.workflow_id = given if isinstance(given, str) else None
    elif isinstance(name, str):
        found.workflow_id = derive_workflow_id(name) or None
        if found.workflow_id is None:
            message = f"no workflow_id can be derived from the name {name!r}"
            hint = "give a 'workflow_id' of a-z, 0-9, '-' and '_'"
            found.errors.append(Issue("invalid-value", message, "/name", hint))
    elif name is None:
        hint = 'add "name": "Lead Processing", or a workflow_id such as "lead-processing"'
        found.errors.append(Issue("missing-field", "a definition needs a 'name' or a 'workflow_id'", "/name", hint))


def _check(model: Document, reader: DocumentReader, found: Validation, known_agents: Collection[str] | None) -> None:
    problems: list[ExpressionError] = []
    compiled = compile_document(model, problems)
    found.errors += [as_issue(problem) for problem in problems]
    # A stand-in for a faulty step means nothing of its own.
    errors = [*check_meaning(compiled, known_agents), *_step_schema_issues(compiled)]
    found.errors += [issue for issue in errors if not reader.is_faulty(issue.pointer)]
    found.warnings += advise(compiled)
    found.inferred_dependencies = {
        step_id: list(step.inferred) for step_id, step in compiled.steps.items() if step.inferred
    }
    found.compiled = compiled


_SCHEMA_FIELDS = (
    ("output_schema", "output_schema"),
    ("response_schema", "response_schema"),
    ("json_schema", "schema"),
    ("form_schema", "form_schema"),
)


def _step_schema_issues(compiled: CompiledDefinition) -> Iterator[Issue]:
    scopes = [scope for top in compiled.tops() for scope in top.walk()]
    for step in (step for scope in scopes for step in (*scope.steps.values(), *scope.duplicates)):
        for name, alias in _SCHEMA_FIELDS:
            schema = getattr(step.model, name, None)
            if schema is not None:
                yield from schema_issues(schema, f"{step.pointer}/{alias}")


_WAYS_OUT = {
    "cycle": "remove one of these dependencies",
    "document-too-large": "split it into several workflows",
    "duplicate-step-id": "give one of the steps another step_id",
    "id-too-long": "shorten it; 'name' is for people and may be longer",
    "invalid-json": "send what RFC 8259 calls JSON",
    "invalid-schema": "write a self-contained JSON Schema 2020-12; parts of it go under $defs",
    "invalid-value": "the allowed values are in docs/reference/language.md and /api/v1/schemas/workflow.json",
    "join-impossible": "lower the number, or list more depends_on",
    "missing-field": "add it",
    "not-available": "leave it out",
    "not-in-handler": "move it out of the handler",
    "quorum-impossible": "lower the quorum, or name more approvers",
    "self-dependency": "remove the reference to the step itself",
    "too-deep": "use a child workflow",
    "too-few-steps": 'add a step, for example {"step_id": "a", "step_type": "transform", "value": 1}',
    "too-many-steps": "use child workflows, or foreach",
    "unknown-field": "remove it; the fields are in docs/reference/language.md",
    "unknown-step": "name a step of the same scope",
    "wrong-type": "nothing is converted: write numbers without quotes, and lists in brackets",
    "E_SYNTAX": "the grammar is in docs/reference/expressions.md",
    "E_FUNCTION": "the functions are in docs/reference/expressions.md",
    "E_NAME": "expressions see input, vars, steps and run, and the names of the block around them",
    "E_STEP": "an expression sees the steps of its scope and of the scopes around it",
    "E_LIMIT": "make the expression smaller, or spread it over several steps",
}
"""What a person can do about an error that has no better hint of its own."""


def _with_hints(issues: list[Issue]) -> list[Issue]:
    return [issue if issue.hint else replace(issue, hint=_WAYS_OUT.get(issue.code)) for issue in issues]


def _finish(document: dict[str, Any], found: Validation) -> None:
    if not found.errors:
        whole = {**document, "workflow_id": found.workflow_id}
        try:
            found.sha256 = canonical_sha256(whole)
            found.document = whole
        except ValueError as error:
            hint = "numbers are JSON's: integers up to 2**53 - 1; write larger ones as text"
            found.errors.append(Issue("invalid-value", f"the definition has no canonical form: {error}", "", hint))
    if found.errors or found.compiled is None:
        found.compiled = None
    else:
        found.compiled.sha256 = found.sha256 or ""


def as_issue(error: ExpressionError) -> Issue:
    """Return an expression error as an issue of the document."""
    return Issue(error.code, error.message, error.pointer, error.hint, error.expression, error.column)
