"""The bounds of an evaluation, part of version 1 of the language and stored with every run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one expression, one template and one evaluation may cost.

    An evaluation is one call of `Expression.evaluate` or `Template.render`, with all expressions of the template.

    Attributes:
        expression_bytes: UTF-8 bytes of one expression.
        template_bytes: UTF-8 bytes of all texts with `{{` in one template value.
        nesting: Levels of nesting in the syntax tree of one expression.
        work_units: Work of one evaluation; a loop is charged before it runs, iterations x body.
        memory_units: Characters + 8 x slots that one evaluation may allocate, charged before allocating.
        result_nesting: Levels of lists and objects in a result.
    """

    expression_bytes: int = 8 * 1024
    template_bytes: int = 256 * 1024
    nesting: int = 48
    work_units: int = 200_000
    memory_units: int = 4_000_000
    result_nesting: int = 60


DEFAULT_LIMITS = Limits()
