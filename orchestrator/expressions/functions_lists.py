"""Functions of lists."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Closure, Function, need_integer, need_list, need_text
from orchestrator.expressions.meter import SLOT, Evaluation, Json
from orchestrator.expressions.operators import calculate
from orchestrator.expressions.values import canonical, described, mismatch, to_text

_NUMBERS = (int, float)


def _slots(state: Evaluation, count: int) -> None:
    state.allocate(SLOT + SLOT * count)
    state.charge(count >> 4)


def _len(state: Evaluation, value: Json) -> int:
    if type(value) not in (str, list, dict):
        mismatch("len needs an array, an object or a string", value)
    return len(value)


def _first(state: Evaluation, items: Json) -> Json:
    if need_list("first", items):
        return items[0]
    raise _empty("first")


def _last(state: Evaluation, items: Json) -> Json:
    if need_list("last", items):
        return items[-1]
    raise _empty("last")


def _empty(function: str) -> ExpressionError:
    return ExpressionError("E_MISSING", f"{function} of an empty array", hint="give a default with '??'")


def _map(state: Evaluation, items: Json, each: Closure) -> list[Json]:
    _slots(state, len(need_list("map", items)))
    return each.each(state, items)


def _filter(state: Evaluation, items: Json, test: Closure) -> list[Json]:
    _slots(state, len(need_list("filter", items)))
    passed: list[Json] = []
    for item, result in zip(items, test.each(state, items), strict=True):
        if result is True:
            passed.append(item)
        elif result is not False:
            raise test.not_boolean(result, "filter")
    return passed


def _find(state: Evaluation, items: Json, test: Closure) -> Json:
    need_list("find", items)
    tests = test.tests(state, items, "find")
    return next((item for item, passed in zip(items, tests, strict=False) if passed), None)


def _any(state: Evaluation, items: Json, test: Closure | None = None) -> bool:
    return any(_tests(state, "any", items, test))


def _all(state: Evaluation, items: Json, test: Closure | None = None) -> bool:
    return all(_tests(state, "all", items, test))


def _tests(state: Evaluation, function: str, items: Json, test: Closure | None) -> Iterable[bool]:
    need_list(function, items)
    if test is not None:
        return test.tests(state, items, function)
    state.charge(len(items) >> 2)
    for item in items:
        if type(item) is not bool:
            mismatch(f"{function} without a condition needs booleans", item, hint=f"{function}(x => x.done == true)")
    return items  # type: ignore[no-any-return]


def _flatten(state: Evaluation, items: Json) -> list[Json]:
    state.charge(len(need_list("flatten", items)) >> 1)
    size = sum(len(item) if type(item) is list else 1 for item in items)
    _slots(state, size)
    result: list[Json] = []
    for item in items:
        if type(item) is list:
            result.extend(item)
        else:
            result.append(item)
    return result


def _flat_map(state: Evaluation, items: Json, each: Closure) -> list[Json]:
    return _flatten(state, _map(state, need_list("flat_map", items), each))


def _reduce(state: Evaluation, items: Json, each: Closure, *initial: Json) -> Json:
    need_list("reduce", items)
    if not initial and not items:
        raise ExpressionError("E_MISSING", "reduce of an empty array", hint="give an initial value: reduce(f, 0)")
    value, rest = (initial[0], items) if initial else (items[0], items[1:])
    state.charge(len(rest) * each.cost)
    body, slot, names = each.body, each.slot, state.locals
    for index, item in enumerate(rest, 0 if initial else 1):
        names[slot] = value
        names[slot + 1] = item
        if each.parameters > 2:
            names[slot + 2] = index
        value = body(state)
    return value


def _keyed(state: Evaluation, function: str, keys: list[Json]) -> None:
    """Check that values can be ordered, and charge for ordering them."""
    state.charge(len(keys))
    if not keys:
        return
    kinds = _NUMBERS if type(keys[0]) in _NUMBERS else (str,)
    for key in keys:
        if type(key) not in kinds:
            if key is None:
                mismatch(f"{function} cannot order null", key)
            if type(key) is type(keys[0]):
                mismatch(f"{function} orders numbers or strings", key)
            raise ExpressionError(
                "E_TYPE", f"{function} orders numbers or strings, not {described(keys[0])} and {described(key)}"
            )
    rounds = len(keys).bit_length()
    state.charge(len(keys) * rounds >> 3)
    if kinds == (str,):
        state.charge(sum(map(len, keys)) * rounds >> 6)


def _descending(function: str, order: Json) -> bool:
    if order not in ("asc", "desc"):
        raise ExpressionError("E_RANGE", f"the order of {function} is 'asc' or 'desc'")
    return bool(order == "desc")


def _sort(state: Evaluation, items: Json, order: Json = "asc") -> list[Json]:
    _keyed(state, "sort", need_list("sort", items))
    _slots(state, len(items))
    return sorted(items, reverse=_descending("sort", order))


def _sort_by(state: Evaluation, items: Json, key: Closure, order: Json = "asc") -> list[Json]:
    _slots(state, 3 * len(need_list("sort_by", items)))
    keys = key.each(state, items)
    _keyed(state, "sort_by", keys)
    places = sorted(range(len(keys)), key=keys.__getitem__, reverse=_descending("sort_by", order))
    return [items[place] for place in places]


def _group_by(state: Evaluation, items: Json, key: Closure) -> dict[str, list[Json]]:
    _slots(state, len(need_list("group_by", items)))
    groups: dict[str, list[Json]] = {}
    for item, name in zip(items, key.each(state, items), strict=True):
        if type(name) is not str:
            mismatch("group_by needs strings as keys", name, hint="turn the key into one: string(x.key)")
        if len(name) > 63:
            state.charge(len(name) >> 6)
        if name not in groups:
            state.allocate(3 * SLOT + len(name))
            groups[name] = []
        groups[name].append(item)
    return groups


def _sum(state: Evaluation, items: Json, each: Closure | None = None) -> Json:
    need_list("sum", items)
    total: Json = 0
    state.charge(len(items))
    for value in items if each is None else each.each(state, items):
        if type(value) not in _NUMBERS:
            mismatch("sum needs numbers", value)
        total = calculate(state, "+", total, value)
    return total


def _min(state: Evaluation, *values: Json) -> Json:
    return min(_candidates(state, "min", values))


def _max(state: Evaluation, *values: Json) -> Json:
    return max(_candidates(state, "max", values))


def _candidates(state: Evaluation, function: str, values: tuple[Json, ...]) -> list[Json]:
    items = list(values)
    if type(values[-1]) is Closure:
        if len(values) != 2:
            mismatch(f"{function} with a function needs one array", values[0])
        _slots(state, len(need_list(function, values[0])))
        items = values[-1].each(state, values[0])
    elif len(values) == 1:
        items = need_list(function, values[0])
    if not items:
        raise _empty(function)
    _keyed(state, function, items)
    return items


def _unique(state: Evaluation, items: Json) -> list[Json]:
    _slots(state, 3 * len(need_list("unique", items)))
    state.charge(len(items))
    seen: dict[Json, Json] = {}
    for item in items:
        seen.setdefault(canonical(state, item), item)
    return list(seen.values())


def _reverse(state: Evaluation, items: Json) -> list[Json]:
    _slots(state, len(need_list("reverse", items)))
    return items[::-1]  # type: ignore[no-any-return]


def _slice(state: Evaluation, items: Json, start: Json, end: Json = None) -> Json:
    if type(items) not in (list, str):
        mismatch("slice needs an array or a string", items)
    need_integer("slice", start)
    if end is not None:
        need_integer("slice", end)
    size = len(range(*slice(start, end).indices(len(items))))
    if type(items) is str:
        state.text(size)
    else:
        _slots(state, size)
    return items[start:end]


def _range(state: Evaluation, *bounds: Json) -> list[int]:
    for bound in bounds:
        need_integer("range", bound)
    if len(bounds) == 3 and bounds[2] == 0:
        raise ExpressionError("E_RANGE", "the step of range cannot be 0")
    numbers = range(*bounds)
    # len() itself overflows on a range of more than 2**63 numbers.
    size = max(0, (numbers.stop - numbers.start + numbers.step - (1 if numbers.step > 0 else -1)) // numbers.step)
    state.allocate(SLOT + SLOT * size)
    state.charge(size >> 2)
    return list(numbers)


def _join(state: Evaluation, items: Json, separator: Json = "") -> str:
    state.charge(len(need_list("join", items)))
    need_text("join", separator)
    state.allocate(len(separator) * max(0, len(items) - 1))
    parts = [to_text(state, item) for item in items]
    state.text(sum(map(len, parts)) + len(separator) * max(0, len(items) - 1))
    return separator.join(parts)  # type: ignore[no-any-return]


def _zip(state: Evaluation, *lists: Json) -> list[Json]:
    for items in lists:
        need_list("zip", items)
    size = min(map(len, lists))
    state.allocate(SLOT + (2 * SLOT + SLOT * len(lists)) * size)
    state.charge((len(lists) + 1) * size >> 2)
    return [list(row) for row in zip(*lists, strict=False)]


_ITEM = {1: (1, 2)}

LIST_FUNCTIONS = {
    "len": Function("len(x)", _len),
    "first": Function("first(list)", _first),
    "last": Function("last(list)", _last),
    "map": Function("map(list, x => value)", _map, 2, 2, _ITEM, builds=True),
    "filter": Function("filter(list, x => condition)", _filter, 2, 2, _ITEM),
    "find": Function("find(list, x => condition)", _find, 2, 2, _ITEM),
    "any": Function("any(list, x => condition)", _any, 1, 2, _ITEM),
    "all": Function("all(list, x => condition)", _all, 1, 2, _ITEM),
    "flat_map": Function("flat_map(list, x => list)", _flat_map, 2, 2, _ITEM, builds=True),
    "reduce": Function("reduce(list, (total, x) => value, initial?)", _reduce, 2, 3, {1: (2, 3)}),
    "sort": Function("sort(list, 'asc'|'desc'?)", _sort, 1, 2),
    "sort_by": Function("sort_by(list, x => key, 'asc'|'desc'?)", _sort_by, 2, 3, _ITEM),
    "group_by": Function("group_by(list, x => key)", _group_by, 2, 2, _ITEM, builds=True),
    "sum": Function("sum(list, x => number?)", _sum, 1, 2, _ITEM),
    "min": Function("min(list, x => key?) or min(a, b)", _min, 1, 32, _ITEM, mixed=True),
    "max": Function("max(list, x => key?) or max(a, b)", _max, 1, 32, _ITEM, mixed=True),
    "unique": Function("unique(list)", _unique),
    "flatten": Function("flatten(list)", _flatten, builds=True),
    "reverse": Function("reverse(list)", _reverse),
    "slice": Function("slice(list, start, end?)", _slice, 2, 3),
    "range": Function("range(end) or range(start, end, step?)", _range, 1, 3, builds=True),
    "join": Function("join(list, separator?)", _join, 1, 2),
    "zip": Function("zip(list, list)", _zip, 1, 32, builds=True),
}
