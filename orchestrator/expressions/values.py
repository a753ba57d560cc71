"""Values: type names, deep equality, sizes and texts, all charged to the meter by value and never by identity.

Sharing inside a value is not visible: after a replay the same value may share nothing, and work must come out the same.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import NoReturn

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import MAX_INT, MIN_INT, SLOT, Evaluation, Json, too_deep, too_large

TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_CONTAINERS = (list, dict)
_LARGE = 100_000
_CONTAINER = 256
"""Memory units that counting one list or object costs as much as; 256 of them are a unit of work."""
_ANY: set[type] = set()


def type_name(value: Json) -> str:
    """Return what `type()` gives."""
    return TYPE_NAMES.get(type(value)) or "unknown"


def described(value: Json) -> str:
    """Return the type with its article, for messages."""
    name = type_name(value)
    return name if name == "null" else f"{'an' if name[0] in 'aou' else 'a'} {name}"


def mismatch(needed: str, value: Json, hint: str | None = None) -> NoReturn:
    """Raise for a value of the wrong type.

    Args:
        needed: Who needs what: `map needs an array`.
        value: What was given instead.
        hint: The way out; null has its own.

    Raises:
        ExpressionError: `E_NULL` for null, else `E_TYPE`.
    """
    if value is None:
        raise ExpressionError("E_NULL", f"{needed}, got null", hint="give a default with '??'")
    raise ExpressionError("E_TYPE", f"{needed}, got {described(value)}", hint=hint)


def equal(state: Evaluation, a: Json, b: Json, depth: int = 0) -> bool:
    """Compare deeply, without converting: `1 == 1.0` but not `1 == '1'` and not `true == 1`."""
    kind, other = type(a), type(b)
    if kind is str:
        if other is not str or len(a) != len(b):
            return False
        if len(a) > 63:
            state.charge(len(a) >> 6)
        return bool(a == b)
    if kind is int or kind is float:
        return (other is int or other is float) and bool(a == b)
    if kind is not list and kind is not dict:
        return a is b
    if kind is not other or len(a) != len(b):
        return False
    if depth >= state.nesting_limit:
        raise too_deep(state.nesting_limit)
    if kind is list:
        state.charge(2 + len(a))
        # Here and below a loop, because a generator doubles the time of the comparison.
        for x, y in zip(a, b, strict=True):  # noqa: SIM110
            if not equal(state, x, y, depth + 1):
                return False
        return True
    state.charge(2 + 2 * len(a))
    for key, x in a.items():  # noqa: SIM110
        if key not in b or not equal(state, x, b[key], depth + 1):
            return False
    return True


def contains(state: Evaluation, container: Json, value: Json) -> bool:
    """Return what `value in container` gives: an element, a key or a part of a text."""
    kind = type(container)
    if kind is list:
        state.charge(len(container))
        for item in container:  # noqa: SIM110
            if equal(state, value, item):
                return True
        return False
    if kind is dict:
        if type(value) is not str:
            mismatch("the key looked for in an object must be a string", value)
        state.charge(len(value) >> 6)
        return value in container
    if kind is str:
        if type(value) is not str:
            mismatch("only a string can be in a string", value)
        state.charge(1 + (len(container) >> 5) + (len(value) >> 5))
        return value in container
    mismatch("'in' needs an array, an object or a string on its right", container)


def measure(state: Evaluation, value: Json, limit: int, depth: int = 0, container: int = SLOT) -> int:
    """Return the memory units of a value, shared parts counted wherever they appear.

    Args:
        state: The evaluation, for its limit of nesting.
        value: What to measure.
        limit: Units at which to stop.
        depth: Levels above the value.
        container: Units of a list or an object, apart from its slots.

    Raises:
        ExpressionError: `E_LIMIT` beyond `limit` or the nesting; `E_TYPE` for anything that is not JSON.
    """
    kind = type(value)
    if kind is str:
        return SLOT + len(value)
    if kind is not list and kind is not dict:
        if kind not in TYPE_NAMES:
            raise ExpressionError("E_TYPE", f"the value is not JSON but {kind.__name__}")
        return SLOT
    if depth >= state.nesting_limit:
        raise too_deep(state.nesting_limit)
    units = container + SLOT * len(value)
    if units > limit:
        raise too_large()
    if kind is dict:
        units += sum(map(len, value))
        value = value.values()
    # Long lists without further ones are measured without a loop in Python; for short ones the loop is faster.
    kinds = set(map(type, value)) if len(value) > 16 else _ANY
    if kinds is not _ANY and kinds.isdisjoint(_CONTAINERS) and kinds.issubset(TYPE_NAMES):
        if str in kinds:
            texts = value if len(kinds) == 1 else [item for item in value if type(item) is str]
            units += sum(map(len, texts))
    else:
        for item in value:
            kind = type(item)
            if kind is str:
                units += len(item)
            elif kind is list or kind is dict or kind not in TYPE_NAMES:
                units += measure(state, item, limit - units + SLOT, depth + 1, container)
                if units > limit:
                    break
    if units > limit:
        raise too_large()
    return units


def settle(state: Evaluation, value: Json, builds: bool, depth: int = 0) -> None:
    """Count a result, so that nothing leaves the evaluator that could not be serialized.

    What an expression built must fit the memory units; a large result is counted again
    by what counting costs. What it only took out of the context is not allocated: there
    the work of counting is the bound, one unit for 2 lists or objects, 32 slots or 256 characters.

    Args:
        state: The evaluation to charge.
        value: Its result.
        builds: Whether parts of the result may be new, and shared parts therefore repeated without bound.
        depth: Levels of the template around the result.

    Raises:
        ExpressionError: `E_LIMIT`.
    """
    if builds:
        units = measure(state, value, state.memory_limit, depth)
        if units > _LARGE:
            units = measure(state, value, units * _CONTAINER, depth, _CONTAINER)
    else:
        units = measure(state, value, (state.work_limit - state.work) << 8, depth, 128)
    state.charge(units >> 8)


def to_json(state: Evaluation, value: Json) -> str:
    """Return compact JSON, charged before it is written."""
    kind = type(value)
    if kind is int and not MIN_INT <= value <= MAX_INT:
        raise ExpressionError("E_RANGE", "the number does not fit 64 bits")
    if kind is list or kind is dict or kind is str:
        units = measure(state, value, state.memory_limit)
        state.allocate(units)
        state.charge(units >> 5)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise ExpressionError("E_RANGE", "a number in the value is not JSON") from None
    if kind is list or kind is dict or kind is str:
        state.allocate(max(0, len(text) - units))
    return text


def to_text(state: Evaluation, value: Json) -> str:
    """Return a value as mixed text shows it.

    Raises:
        ExpressionError: `E_NULL` for null.
    """
    kind = type(value)
    if kind is str:
        return str(value)
    if value is None:
        raise ExpressionError("E_NULL", "null has no text", hint="give a default: ?? ''")
    if kind not in TYPE_NAMES:
        raise ExpressionError("E_TYPE", f"the value is not JSON but {kind.__name__}")
    return to_json(state, value)


def canonical(state: Evaluation, value: Json) -> Json:
    """Return a dictionary key that two values share exactly when they are equal."""
    kind = type(value)
    if kind is str:
        state.charge(1 + (len(value) >> 6))
        return value
    if kind is bool:
        return (value,)
    if kind is list or kind is dict:
        parts: list[str] = []
        _canonical(state, value, parts, 0)
        return ("".join(parts),)
    return value


def _canonical(state: Evaluation, value: Json, parts: list[str], depth: int) -> None:
    kind = type(value)
    if kind is list or kind is dict:
        if depth >= state.nesting_limit:
            raise too_deep(state.nesting_limit)
        state.charge(4 + 3 * len(value))
        state.allocate(2 * SLOT * len(value) + SLOT)
    if kind is list:
        parts.append("[")
        for item in value:
            _canonical(state, item, parts, depth + 1)
            parts.append(",")
        parts.append("]")
    elif kind is dict:
        state.text(sum(map(len, value)) * 2)
        parts.append("{")
        for key in sorted(value):
            parts.append(encode_basestring_ascii(key) + ":")
            _canonical(state, value[key], parts, depth + 1)
            parts.append(",")
        parts.append("}")
    elif kind is str:
        state.text(len(value) * 2)
        parts.append(encode_basestring_ascii(value))
    elif kind is float and value == value // 1:
        parts.append(str(int(value)))
    else:
        parts.append(to_json(state, value))
