"""Functions of objects; `has` and `default` are compiled, because they read their first argument leniently."""

from __future__ import annotations

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, need_list, need_object
from orchestrator.expressions.meter import SLOT, Evaluation, Json
from orchestrator.expressions.values import mismatch


def _fields(state: Evaluation, count: int) -> None:
    state.allocate(SLOT + 2 * SLOT * count)
    state.charge(count >> 3)


def _merge(state: Evaluation, *objects: Json) -> dict[str, Json]:
    _fields(state, sum(len(need_object("merge", value)) for value in objects))
    result: dict[str, Json] = {}
    for value in objects:
        result.update(value)
    return result


def _chosen(state: Evaluation, function: str, value: Json, keys: tuple[Json, ...]) -> list[Json]:
    need_object(function, value)
    chosen = keys[0] if len(keys) == 1 and type(keys[0]) is list else list(keys)
    state.charge(len(chosen) >> 1)
    for key in chosen:
        if type(key) is not str:
            mismatch(f"the keys of {function} are strings", key, hint=f"{function}(x, ['a', 'b'])")
        if len(key) > 63:
            state.charge(len(key) >> 6)
    return chosen


def _pick(state: Evaluation, value: Json, *keys: Json) -> dict[str, Json]:
    chosen = _chosen(state, "pick", value, keys)
    _fields(state, len(chosen))
    return {key: value[key] for key in chosen if key in value}


def _omit(state: Evaluation, value: Json, *keys: Json) -> dict[str, Json]:
    omitted = dict.fromkeys(_chosen(state, "omit", value, keys))
    _fields(state, len(value) + len(omitted))
    state.charge(len(value) >> 3)
    return {key: field for key, field in value.items() if key not in omitted}


def _keys(state: Evaluation, value: Json) -> list[str]:
    _fields(state, len(need_object("keys", value)))
    return list(value)


def _values(state: Evaluation, value: Json) -> list[Json]:
    _fields(state, len(need_object("values", value)))
    return list(value.values())


def _entries(state: Evaluation, value: Json) -> list[Json]:
    size = len(need_object("entries", value))
    state.allocate(SLOT + 6 * SLOT * size)
    state.charge(size)
    return [{"key": key, "value": field} for key, field in value.items()]


def _from_entries(state: Evaluation, items: Json) -> dict[str, Json]:
    _fields(state, len(need_list("from_entries", items)))
    state.charge(len(items))
    result: dict[str, Json] = {}
    for item in items:
        if type(item) is dict and "key" in item and "value" in item:
            key, value = item["key"], item["value"]
        elif type(item) is list and len(item) == 2:
            key, value = item
        else:
            raise ExpressionError("E_TYPE", "from_entries needs items like {key: 'a', value: 1} or ['a', 1]")
        if type(key) is not str:
            mismatch("from_entries needs strings as keys", key)
        if len(key) > 63:
            state.charge(len(key) >> 6)
        result[key] = value
    return result


def _compiled(*_: Json) -> Json:
    raise ExpressionError("E_TYPE", "the function has no code of its own")


OBJECT_FUNCTIONS = {
    "merge": Function("merge(object, object)", _merge, 1, 32, builds=True),
    "pick": Function("pick(object, ['key'])", _pick, 2, None, builds=True),
    "omit": Function("omit(object, ['key'])", _omit, 2, None, builds=True),
    "keys": Function("keys(object)", _keys, builds=True),
    "values": Function("values(object)", _values, builds=True),
    "entries": Function("entries(object)", _entries, builds=True),
    "from_entries": Function("from_entries(list)", _from_entries, builds=True),
    "has": Function("has(x.field) or has(x, 'field')", _compiled, 1, 2, accepts_null=True),
    "default": Function("default(x, value)", _compiled, 2, 2, accepts_null=True),
}
