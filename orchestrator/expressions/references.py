"""What an expression reads, known without evaluating it."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.suggestions import suggest
from orchestrator.expressions.table import FUNCTIONS

STEP_FIELDS = ("output", "status", "error", "errors", "attempts", "started_at", "finished_at")
"""Fields of a step record."""

_SUGGESTIONS = 20_000


@dataclass(frozen=True, slots=True)
class Reference:
    """A root name that an expression reads.

    Attributes:
        root: The name: `steps`, `input`, `vars`, `item`, `secrets`, …
        step_id: Id of the step, when the root is `steps`.
        field: First field behind the root or the step, when it is literal: `output`, the name of a secret.
        strict: Whether a missing value fails: no `??`, `?.`, `default` or `has` on its path, and neither the
            `.status` nor the `.error` of a step.
        pointer: JSON pointer of the template value inside its document.
        expression: Source text that `column` counts in.
        column: Position of the root name, from 1.
    """

    root: str
    step_id: str | None
    field: str | None
    strict: bool
    pointer: str
    expression: str
    column: int


def check_references(
    references: Collection[Reference],
    *,
    roots: Collection[str],
    step_ids: Collection[str],
    suggestions: int = _SUGGESTIONS,
) -> list[ExpressionError]:
    """Return an error for every reference to a name or a step that does not exist.

    Args:
        references: What the expressions read.
        roots: Names that they may read; `steps` counts as one as soon as there are step ids.
        step_ids: Steps that they may read; a set is not copied.
        suggestions: How many names may be compared to find what was meant.

    Returns:
        `E_NAME` and `E_STEP`, in the order of the references.
    """
    known, ids = dict.fromkeys(roots), step_ids if isinstance(step_ids, Set) else dict.fromkeys(step_ids)
    hints: dict[tuple[bool, str], str | None] = {}
    budget = suggestions
    errors: list[ExpressionError] = []
    for reference in references:
        of_step = reference.root == "steps" and ("steps" in known or bool(ids))
        name = reference.step_id or "" if of_step else reference.root
        if name in (ids if of_step else known):
            if of_step and reference.field is not None and reference.field not in STEP_FIELDS:
                errors.append(_unknown_field(reference))
            continue
        if (of_step, name) not in hints:
            # Thousands of unknown ids times thousands of candidates would outlast the workflow task.
            candidates = ids if of_step else known
            hints[of_step, name] = suggest(name, candidates) if budget > 0 else None
            budget -= len(candidates)
        errors.append(_unknown(reference, of_step, name, hints[of_step, name], list(known)))
    return errors


def _unknown(reference: Reference, of_step: bool, name: str, found: str | None, known: list[str]) -> ExpressionError:
    hint = f"did you mean '{found}'?" if found else None
    shown = name if len(name) <= 64 else name[:63] + "…"
    if of_step:
        return _error(reference, "E_STEP", f"unknown step '{shown}'", hint)
    if name == "steps":
        return _error(reference, "E_NAME", "no step can be read here", None)
    if name == "secrets":
        return _error(
            reference,
            "E_NAME",
            "secrets cannot be read here",
            "secrets stand only in auth, headers, query, and tool or MCP credentials",
        )
    if name in FUNCTIONS:
        return _error(reference, "E_NAME", f"'{name}' is a function, not a value", f"call it: {FUNCTIONS[name].usage}")
    if name == "env":
        hint = "the environment is not readable; use input, vars or secrets"
    elif hint is None and known:
        hint = f"the names are {', '.join(known[:12])}"
    return _error(reference, "E_NAME", f"unknown name '{shown}'", hint)


def _unknown_field(reference: Reference) -> ExpressionError:
    field = str(reference.field)
    found = suggest(field, STEP_FIELDS)
    hint = f"did you mean '{found}'?" if found else f"the fields are {', '.join(STEP_FIELDS)}"
    shown = field if len(field) <= 64 else field[:63] + "…"
    return _error(reference, "E_STEP", f"a step has no field '{shown}'", hint)


def _error(reference: Reference, code: str, message: str, hint: str | None) -> ExpressionError:
    return ExpressionError(code, message, reference.pointer, reference.column, hint, reference.expression)
