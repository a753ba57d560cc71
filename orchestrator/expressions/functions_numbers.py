"""Functions of numbers."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, need_integer, need_number
from orchestrator.expressions.meter import MAX_INT, MIN_INT, Evaluation, Json
from orchestrator.expressions.operators import checked, out_of_range
from orchestrator.expressions.values import mismatch

# A context of our own: the thread's could have been changed by a library.
_DECIMAL = Context(prec=400, rounding=ROUND_HALF_UP, Emin=-999_999, Emax=999_999)
_LONGEST = 400


def _round(state: Evaluation, number: Json, digits: Json = 0) -> int | float:
    if not -400 <= need_integer("round", digits) <= 400:
        raise ExpressionError("E_RANGE", "round takes between -400 and 400 digits")
    if type(need_number("round", number)) is int and digits >= 0:
        return checked(number)
    # The shortest text of a float is the number that its author wrote: round(2.675, 2) is 2.68.
    exact = Decimal(checked(number)) if type(number) is int else Decimal(repr(checked(number)))
    if exact.as_tuple().exponent >= -digits:
        rounded = exact
    else:
        rounded = exact.quantize(Decimal(1).scaleb(-digits, _DECIMAL), context=_DECIMAL)
    if digits <= 0 and MIN_INT <= rounded <= MAX_INT:
        return int(rounded)
    return checked(int(rounded) if type(number) is int else float(rounded))


def _floor(state: Evaluation, number: Json) -> int | float:
    return checked(math.floor(checked(need_number("floor", number))))


def _ceil(state: Evaluation, number: Json) -> int | float:
    return checked(math.ceil(checked(need_number("ceil", number))))


def _abs(state: Evaluation, number: Json) -> int | float:
    return checked(abs(need_number("abs", number)))


def _pow(state: Evaluation, base: Json, exponent: Json) -> int | float:
    need_number("pow", base)
    need_number("pow", exponent)
    checked(base)
    checked(exponent)
    if type(base) is int and type(exponent) is int and exponent >= 0:
        if base in (-1, 0, 1):
            return base if exponent % 2 else base**2 if exponent else 1
        # The smallest base of the others passes 64 bits with the exponent 64: no huge power is ever computed.
        if exponent > 64:
            raise out_of_range()
        return checked(base**exponent)
    try:
        return checked(math.pow(base, exponent))
    except OverflowError:
        raise out_of_range() from None
    except ValueError:
        raise ExpressionError("E_RANGE", f"pow({base}, {exponent}) is not a number") from None


def _number(state: Evaluation, value: Json) -> int | float:
    if type(value) is int or type(value) is float:
        return checked(value)
    if type(value) is not str:
        mismatch("number needs a string or a number", value)
    text = value[: _LONGEST + 1].strip() if len(value) <= _LONGEST else ""
    sign = text[:1] in ("-", "+")
    digits = text[1:] if sign else text
    if digits.isascii() and digits.isdigit():
        return checked(int(text)) if len(digits) < 20 else checked(2**64)
    # float() would also take 'nan', 'infinity' and '1_000'.
    if digits[:1].isdigit() and digits.isascii() and all(c.isdigit() or c in ".eE+-" for c in digits):
        try:
            return checked(float(text))
        except ValueError:
            pass
    shown = value if len(value) <= 40 else value[:39] + "…"
    raise ExpressionError("E_TYPE", f"'{shown}' is not a number")


def _int(state: Evaluation, value: Json) -> int:
    return int(checked(int(_number(state, value))))


NUMBER_FUNCTIONS = {
    "round": Function("round(number, digits?)", _round, 1, 2, cost=4),
    "floor": Function("floor(number)", _floor),
    "ceil": Function("ceil(number)", _ceil),
    "abs": Function("abs(number)", _abs),
    "pow": Function("pow(base, exponent)", _pow, 2, 2),
    "number": Function("number(text)", _number, cost=4),
    "int": Function("int(x)", _int, cost=4),
}
