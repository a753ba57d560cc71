"""Operators as code: arithmetic in 64 bits, comparisons without conversion, conditions without truthiness."""

from __future__ import annotations

import operator
from collections.abc import Callable

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import MAX_INT, MIN_INT, SLOT, Evaluation, Json
from orchestrator.expressions.paths import Code
from orchestrator.expressions.values import contains, described, equal

_NUMBERS = (int, float)
_SMALL = 2**31
_ORDER: dict[str, Callable[[Json, Json], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def out_of_range() -> ExpressionError:
    """Return the error for a number beyond 64-bit integers and finite floats."""
    return ExpressionError("E_RANGE", "the result is out of range: integers have 64 bits, floats are finite")


def checked(number: int | float) -> int | float:
    """Return the number.

    Raises:
        ExpressionError: `E_RANGE` beyond 64 bits, for an infinity and for NaN.
    """
    if type(number) is int:
        if MIN_INT <= number <= MAX_INT:
            return number
    elif type(number) is float and number - number == 0:
        return number
    raise out_of_range()


def _divide(a: Json, b: Json) -> Json:
    # An exact quotient of integers stays an integer, so that {{ 6 / 2 }} shows 3.
    if type(a) is int and type(b) is int and a % b == 0:
        return a // b
    return a / b


_ARITHMETIC: dict[str, Callable[[Json, Json], Json]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "//": operator.floordiv,
    "%": operator.mod,
}


def calculate(state: Evaluation, symbol: str, a: Json, b: Json) -> Json:
    """Apply `+ - * / // %` to two values.

    Raises:
        ExpressionError: `E_TYPE`, `E_NULL` or `E_RANGE`.
    """
    kind, other = type(a), type(b)
    if kind in _NUMBERS and other in _NUMBERS:
        try:
            return checked(_ARITHMETIC[symbol](a, b))
        except ZeroDivisionError:
            hint = "test the divisor first: b == 0 ? 0 : a / b"
            raise ExpressionError("E_RANGE", "division by zero", hint=hint) from None
        except OverflowError:
            raise out_of_range() from None
    if symbol == "+" and kind is other:
        if kind is str:
            state.text(len(a) + len(b))
            return a + b
        if kind is list:
            state.allocate(SLOT + SLOT * (len(a) + len(b)))
            state.charge((len(a) + len(b)) >> 4)
            return a + b
    raise _refused(symbol, a, b)


def _refused(symbol: str, a: Json, b: Json) -> ExpressionError:
    if a is None or b is None:
        return ExpressionError(
            "E_NULL", f"'{symbol}' has null on its {'left' if a is None else 'right'}", hint="give a default: ?? 0"
        )
    hint = "turn the other into a string with string(x)" if symbol == "+" and str in (type(a), type(b)) else None
    return ExpressionError("E_TYPE", f"'{symbol}' does not work on {described(a)} and {described(b)}", hint=hint)


def arithmetic(first: Code, rest: list[tuple[str, Code, int]]) -> Code:
    """Return code for operators of one level, applied from the left."""
    calls = [(symbol, code, column, _ARITHMETIC[symbol]) for symbol, code, column in rest]

    def run(state: Evaluation) -> Json:
        value = first(state)
        for symbol, code, column, direct in calls:
            other = code(state)
            # Small whole numbers are by far the most: no result of theirs can leave 64 bits.
            if type(value) is int and type(other) is int and -_SMALL < value < _SMALL and 0 < other < _SMALL:
                value = direct(value, other)
                continue
            try:
                value = calculate(state, symbol, value, other)
            except ExpressionError as error:
                if error.column is None:
                    error.column = column
                raise
        return value

    return run


def ordering(symbol: str, left: Code, right: Code, column: int) -> Code:
    """Return code for `< <= > >=`: number with number, or string with string."""
    compare = _ORDER[symbol]

    def run(state: Evaluation) -> Json:
        a, b = left(state), right(state)
        kind, other = type(a), type(b)
        if kind in _NUMBERS and other in _NUMBERS:
            return compare(a, b)
        if kind is str and other is str:
            if len(a) > 63:
                state.charge(min(len(a), len(b)) >> 6)
            return compare(a, b)
        error = _refused(symbol, a, b)
        error.column = column
        raise error

    return run


def equality(left: Code, right: Code, negated: bool) -> Code:
    """Return code for `==` and `!=`."""

    def run(state: Evaluation) -> Json:
        a, b = left(state), right(state)
        if type(a) is str and type(b) is str and len(a) < 64:
            return (a == b) is not negated
        return equal(state, a, b) is not negated

    return run


def membership(left: Code, right: Code, negated: bool, column: int) -> Code:
    """Return code for `in` and `not in`."""

    def run(state: Evaluation) -> Json:
        value, container = left(state), right(state)
        try:
            return contains(state, container, value) is not negated
        except ExpressionError as error:
            if error.column is None:
                error.column = column
            raise

    return run


def not_boolean(value: Json, where: str, column: int | None) -> ExpressionError:
    """Return the error for a condition that is no boolean."""
    return ExpressionError(
        "E_TYPE",
        f"{where} must be a boolean, not {described(value)}",
        column=column,
        hint="compare it: x != null, x != '', len(x) > 0, or has(x)",
    )


def logic(symbol: str, operands: list[tuple[Code, int]]) -> Code:
    """Return code for `and` or `or`, which stops at the first operand that decides."""
    decides = symbol == "or"

    def run(state: Evaluation) -> Json:
        for code, column in operands:
            value = code(state)
            if value is decides:
                return decides
            if value is not (not decides):
                raise not_boolean(value, f"an operand of '{symbol}'", column)
        return not decides

    return run


def negation(operand: Code, column: int) -> Code:
    """Return code for `!` and `not`."""

    def run(state: Evaluation) -> Json:
        value = operand(state)
        if value is True or value is False:
            return not value
        raise not_boolean(value, "the operand of 'not'", column)

    return run


def minus(operand: Code, column: int) -> Code:
    """Return code for unary `-`."""

    def run(state: Evaluation) -> Json:
        value = operand(state)
        try:
            return calculate(state, "-", 0, value) if type(value) is not float else -value
        except ExpressionError as error:
            error.column = column
            raise

    return run


def conditional(cases: list[tuple[Code, int, Code]], otherwise: Code) -> Code:
    """Return code for `c ? a : d ? b : e`."""

    def run(state: Evaluation) -> Json:
        for condition, column, code in cases:
            value = condition(state)
            if value is True:
                return code(state)
            if value is not False:
                raise not_boolean(value, "the condition of '?'", column)
        return otherwise(state)

    return run


def coalesce(operands: list[Code]) -> Code:
    """Return code for `a ?? b ?? c`: the first value that is not null, else the last."""
    *first, last = operands

    def run(state: Evaluation) -> Json:
        for code in first:
            value = code(state)
            if value is not None:
                return value
        return last(state)

    return run
