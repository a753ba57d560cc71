"""The function table: what every function takes, what calling it costs, and whether it builds new values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import Evaluation, Json
from orchestrator.expressions.paths import Code
from orchestrator.expressions.values import described


class Closure:
    """A lambda argument, ready to run.

    Attributes:
        body: Its code.
        parameters: How many values it takes.
        slot: Place of the first parameter in `Evaluation.locals`.
        cost: Units of work of one run of the body, loops inside apart.
        column: Where it stands.
    """

    __slots__ = ("body", "column", "cost", "parameters", "slot")

    def __init__(self, body: Code, parameters: int, slot: int, cost: int, column: int) -> None:
        """Hold the compiled lambda."""
        self.body = body
        self.parameters = parameters
        self.slot = slot
        self.cost = cost
        self.column = column

    def each(self, state: Evaluation, items: list[Json]) -> list[Json]:
        """Return the results for all items, `(item)` or `(item, index)`; the loop is charged before it runs."""
        state.charge(len(items) * self.cost)
        body, slot, names = self.body, self.slot, state.locals
        results: list[Json] = []
        if self.parameters == 1:
            for names[slot] in items:
                results.append(body(state))
        else:
            for names[slot + 1], names[slot] in enumerate(items):
                results.append(body(state))
        return results

    def tests(self, state: Evaluation, items: list[Json], function: str) -> Iterator[bool]:
        """Yield the same results one by one; all are charged before, and must be booleans.

        Raises:
            ExpressionError: `E_TYPE`.
        """
        state.charge(len(items) * self.cost)
        body, slot, names = self.body, self.slot, state.locals
        indexed = self.parameters > 1
        for index, item in enumerate(items):
            names[slot] = item
            if indexed:
                names[slot + 1] = index
            result = body(state)
            if result is not True and result is not False:
                raise self.not_boolean(result, function)
            yield result

    def not_boolean(self, result: Json, function: str) -> ExpressionError:
        """Return the error for a condition that gives no boolean."""
        return ExpressionError(
            "E_TYPE",
            f"the condition of {function} must be a boolean, not {described(result)}",
            column=self.column,
            hint="compare it: x => x.name != ''",
        )


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    Attributes:
        usage: How it is called, for messages.
        run: What it does; arguments come evaluated, lambdas as `Closure`.
        least: Fewest arguments.
        most: Most arguments; `None` for any number.
        lambdas: Positions that take a lambda, with the fewest and most parameters.
        mixed: Whether a position for a lambda also takes a value.
        builds: Whether the result can hold lists or objects that are not in the context.
        accepts_null: Whether null is a first argument like others, so that a lenient path ends before the call.
        cost: Units of work of a call, apart from what depends on its arguments.
    """

    usage: str
    run: Callable[..., Json]
    least: int = 1
    most: int | None = 1
    lambdas: dict[int, tuple[int, int]] = field(default_factory=dict)
    mixed: bool = False
    builds: bool = False
    accepts_null: bool = False
    cost: int = 2


def need_list(function: str, value: Json) -> list[Json]:
    """Return a value that must be an array."""
    if type(value) is not list:
        raise _wrong(function, "an array", value)
    return value


def need_object(function: str, value: Json) -> dict[str, Json]:
    """Return a value that must be an object."""
    if type(value) is not dict:
        raise _wrong(function, "an object", value)
    return value


def need_text(function: str, value: Json) -> str:
    """Return a value that must be a string."""
    if type(value) is not str:
        raise _wrong(function, "a string", value)
    return value


def need_number(function: str, value: Json) -> int | float:
    """Return a value that must be a number."""
    if type(value) is int or type(value) is float:
        return value
    raise _wrong(function, "a number", value)


def need_integer(function: str, value: Json) -> int:
    """Return a value that must be a whole number."""
    if type(value) is not int:
        raise _wrong(function, "a whole number", value)
    return value


def invalid_unicode(function: str) -> ExpressionError:
    """Return the error for a string that has no UTF-8."""
    return ExpressionError("E_TYPE", f"{function} needs valid Unicode, the string has half a surrogate pair")


def _wrong(function: str, needed: str, value: Json) -> ExpressionError:
    if value is None:
        return ExpressionError("E_NULL", f"{function} needs {needed}, got null", hint="give a default with '??'")
    return ExpressionError("E_TYPE", f"{function} needs {needed}, got {described(value)}")
