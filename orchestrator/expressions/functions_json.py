"""JSON text and types."""

from __future__ import annotations

import json

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, need_text
from orchestrator.expressions.meter import MAX_INT, MIN_INT, SLOT, Evaluation, Json, too_deep
from orchestrator.expressions.values import to_json, to_text, type_name


def _constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not MIN_INT <= (number := int(digits)) <= MAX_INT:
        raise ValueError("a number is out of range")
    return number


def _from_json(state: Evaluation, text: Json) -> Json:
    size = len(need_text("from_json", text))
    slots = text.count(",") + text.count("[") + 2 * text.count("{") + text.count(":")
    state.text(size + SLOT + SLOT * slots)
    state.charge(slots)
    try:
        value = json.loads(text, parse_constant=_constant, parse_int=_integer)
    except RecursionError:
        raise too_deep(state.nesting_limit) from None
    except json.JSONDecodeError as error:
        raise ExpressionError("E_JSON", f"the string is not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise ExpressionError("E_JSON", f"the string is not JSON: {error}") from None
    _check(value, state.nesting_limit)
    # Only an escape can bring half of a surrogate pair, which no payload could carry further.
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ExpressionError("E_JSON", "the string is not JSON: half of a surrogate pair") from None
    return value


def _check(value: Json, nesting: int) -> None:
    kind = type(value)
    if kind is float:
        if value - value != 0:
            raise ExpressionError("E_JSON", "the string is not JSON: a number is out of range")
    elif kind is list or kind is dict:
        if not nesting:
            raise ExpressionError("E_LIMIT", "the JSON is nested too deep")
        for item in value if kind is list else value.values():
            _check(item, nesting - 1)


def _to_json(state: Evaluation, value: Json) -> str:
    return to_json(state, value)


def _string(state: Evaluation, value: Json) -> str:
    return to_text(state, value)


def _type(state: Evaluation, value: Json) -> str:
    return type_name(value)


JSON_FUNCTIONS = {
    "to_json": Function("to_json(x)", _to_json, accepts_null=True, cost=4),
    "from_json": Function("from_json(text)", _from_json, builds=True, cost=4),
    "string": Function("string(x)", _string, cost=4),
    "type": Function("type(x)", _type, accepts_null=True),
}
