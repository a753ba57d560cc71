"""The meter: deterministic units of work and memory, never wall clock, so that a replay gives the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.limits import DEFAULT_LIMITS, Limits

Json: TypeAlias = Any
"""null, boolean, number, string, array or object, as `json.loads` gives them."""

SLOT = 8
"""Memory units of one element of a list; a field of an object takes two, every list and object one more."""

MAX_INT = 2**63 - 1
MIN_INT = -(2**63)


class Host(Protocol):
    """What the workflow supplies so that `now()` and `uuid()` replay."""

    def now(self) -> str:
        """Return the workflow's time, ISO 8601 in UTC."""

    def uuid(self) -> str:
        """Return a random UUID drawn from the workflow's seeded generator."""


class Meter:
    """Counts the work of all evaluations in one workflow activation.

    The interpreter yields on a timer once `work` passes 1 M units, because Temporal's deadlock detector kills a
    workflow task that runs for 2 s.

    Attributes:
        work: Units so far, failed evaluations included.
    """

    __slots__ = ("work",)

    def __init__(self) -> None:
        """Start at zero."""
        self.work = 0


class Evaluation:
    """The state of one evaluation: its names, its budget and the lambda parameters in scope.

    Defaults live on the class: setting eight attributes on every instance costs as much as reading a field.
    """

    work = 0
    memory = 0
    host: Host | None = None
    work_limit = DEFAULT_LIMITS.work_units
    memory_limit = DEFAULT_LIMITS.memory_units
    nesting_limit = DEFAULT_LIMITS.result_nesting
    locals: list[Json] = []  # noqa: RUF012  replaced, never changed, by expressions that have parameters
    patterns: dict[str, Any] | None = None

    def __init__(self, context: Mapping[str, Json]) -> None:
        """Start an evaluation over `context`, which is read and never changed."""
        self.context = context

    def limit(self, limits: Limits) -> None:
        """Replace the default limits."""
        self.work_limit = limits.work_units
        self.memory_limit = limits.memory_units
        self.nesting_limit = limits.result_nesting

    def charge(self, units: int) -> None:
        """Spend work units.

        Raises:
            ExpressionError: `E_LIMIT` when the evaluation has none left.
        """
        self.work = work = self.work + units
        if work > self.work_limit:
            raise ExpressionError(
                "E_LIMIT",
                f"the expression needs more than {self.work_limit} units of work",
                hint="work on fewer items, or split the work over several steps",
            )

    def exhaust(self) -> None:
        """Count all work units as spent: what ran into a limit has computed more than it was charged for."""
        self.work = max(self.work, self.work_limit)

    def allocate(self, units: int) -> None:
        """Spend memory units, before the memory is allocated.

        Raises:
            ExpressionError: `E_LIMIT` when the evaluation has none left.
        """
        self.memory = memory = self.memory + units
        if memory > self.memory_limit:
            raise too_large()

    def text(self, length: int) -> None:
        """Spend what building a text of `length` characters costs."""
        self.allocate(length)
        if length > 63:
            self.charge(length >> 6)


def too_large() -> ExpressionError:
    """Return the error for values beyond the memory units."""
    return ExpressionError(
        "E_LIMIT",
        "the expression yields more data than its memory units allow",
        hint="keep large data in the step output and pass only what is needed",
    )


def too_deep(limit: int) -> ExpressionError:
    """Return the error for a value nested deeper than results may be."""
    return ExpressionError("E_LIMIT", f"the value is nested deeper than {limit} levels")
