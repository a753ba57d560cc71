"""Reading fields and indexes out of values, strictly or leniently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeAlias

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import Evaluation, Json
from orchestrator.expressions.suggestions import suggest
from orchestrator.expressions.values import described, mismatch

Code: TypeAlias = Callable[[Evaluation], Json]
Step: TypeAlias = tuple[str | int | None, Code | None, bool, int]
"""Literal key, else the code of the index; whether null passes; column."""

_SHOWN = 12
_STEP_FIELD = 2
"""Position on a path of `steps` behind the step's field: `steps.fetch.output` ends before it."""


def read_root(name: str, column: int) -> Code:
    """Return code that reads a root name.

    Raises:
        ExpressionError: From the code, `E_NAME` for a name that the context does not have.
    """

    def read(state: Evaluation) -> Json:
        try:
            return state.context[name]
        except KeyError:
            raise unknown_name(name, state.context, column) from None

    return read


def read_path(base: Code, root: str | None, steps: list[Step], source: str, start: int, lenient: bool) -> Code:
    """Return code that follows a path.

    Args:
        base: Code of the value that the path starts from.
        root: The root name, when the path starts from one.
        steps: Fields and indexes.
        source: The expression, to quote in errors.
        start: Column at which the path starts in `source`.
        lenient: Whether whatever is missing on the way makes the result null.
    """
    steps_root = root == "steps"

    def walk(state: Evaluation) -> Json:
        value = base(state)
        for position, (key, index, optional, column) in enumerate(steps):
            if value is None:
                if optional or lenient or (steps_root and position == _STEP_FIELD and _passes_null(state, steps)):
                    return None
                raise ExpressionError(
                    "E_NULL",
                    f"{_quoted(source, start, steps, position)} is null",
                    column=column,
                    hint="read through null with '?.', or give a default: ?? ''",
                )
            if index is not None:
                key = index(state)
            found, value = _take(state, value, key, column)
            if not found:
                if steps_root and position == 0:
                    raise unknown_step(str(key), value, column)
                if lenient:
                    return None
                raise _missing(_quoted(source, start, steps, position), value, key, column)
        return value

    keys = [step[0] for step in steps]
    if root is None or len(keys) > 3 or not all(type(key) is str for key in keys):
        return walk
    # A literal text key can only be found in an object: any failure is told apart by walking again.
    first, second, third = keys + [None] * (3 - len(keys))

    def one(state: Evaluation) -> Json:
        try:
            return state.context[root][first]
        except (KeyError, TypeError):
            return walk(state)

    def two(state: Evaluation) -> Json:
        try:
            return state.context[root][first][second]
        except (KeyError, TypeError):
            return walk(state)

    def three(state: Evaluation) -> Json:
        try:
            return state.context[root][first][second][third]
        except (KeyError, TypeError):
            return walk(state)

    return (one, two, three)[len(keys) - 1]


def _passes_null(state: Evaluation, steps: list[Step]) -> bool:
    """Whether the host reads a step leniently whatever the expression says: its `steps` may have `passes_null`."""
    passes: Callable[[Json], bool] | None = getattr(state.context["steps"], "passes_null", None)
    return passes is not None and passes(steps[0][0])


def read_local_field(slot: int, key: str, walk: Code) -> Code:
    """Return code that reads one field of a lambda parameter, and otherwise does what `walk` does."""

    def read(state: Evaluation) -> Json:
        try:
            return state.locals[slot][key]
        except (KeyError, TypeError):
            return walk(state)

    return read


def _take(state: Evaluation, value: Json, key: Json, column: int) -> tuple[bool, Json]:
    """Return whether the key is there, and what it leads to, else the value itself."""
    kind = type(key)
    if kind is not str and kind is not int:
        try:
            mismatch("an index must be a string or a whole number", key)
        except ExpressionError as error:
            error.column = column
            raise
    if type(value) is list:
        if kind is int and -len(value) <= key < len(value):
            return True, value[key]
        return False, value
    if kind is str and (type(value) is dict or isinstance(value, Mapping)):
        if len(key) > 63:
            state.charge(len(key) >> 6)
        try:
            return True, value[key]
        except KeyError:
            return False, value
    return False, value


def _missing(owner: str, value: Json, key: Json, column: int) -> ExpressionError:
    if type(value) is list:
        if isinstance(key, int):
            return ExpressionError(
                "E_MISSING", f"{owner} has no item {key}, its length is {len(value)}", column=column, hint=_DEFAULT
            )
        return ExpressionError(
            "E_TYPE", f"{owner} is an array, it has no fields", column=column, hint=f"map(x => x.{key[:40]})"
        )
    if not isinstance(value, Mapping):
        return ExpressionError("E_TYPE", f"{owner} is {described(value)}, it has no fields", column=column)
    if isinstance(key, int):
        return ExpressionError("E_TYPE", f"{owner} is an object, its fields have names", column=column)
    found = suggest(key, islice(value, 1_000))
    if found:
        hint = f"did you mean '{found}'? or give a default: ?? ''"
    elif value:
        names = ", ".join(f"'{_short(name)}'" for name in islice(value, _SHOWN))
        hint = f"the fields are {names}{', …' if len(value) > _SHOWN else ''}; or give a default: ?? ''"
    else:
        hint = "it has no fields at all; give a default: ?? ''"
    return ExpressionError("E_MISSING", f"{owner} has no field '{_short(key)}'", column=column, hint=hint)


_DEFAULT = "give a default: ?? ''"


def unknown_name(name: str, names: Mapping[str, Json], column: int | None) -> ExpressionError:
    """Return the error for a root name that does not exist."""
    found = suggest(name, names)
    hint = f"did you mean '{found}'?" if found else f"the names are {', '.join(islice(names, _SHOWN))}"
    return ExpressionError("E_NAME", f"unknown name '{_short(name)}'", column=column, hint=hint)


def unknown_step(step_id: str, records: Json, column: int) -> ExpressionError:
    """Return the error for a step that does not exist."""
    found = suggest(step_id, records) if isinstance(records, Mapping) else None
    hint = f"did you mean '{found}'?" if found else None
    return ExpressionError("E_STEP", f"unknown step '{_short(step_id)}'", column=column, hint=hint)


def _quoted(source: str, start: int, steps: list[Step], position: int) -> str:
    """Return the source text of the path before a step, as the subject of a message."""
    text = source[start - 1 : steps[position][3] - 1].rstrip().removesuffix("[").removesuffix("?.").removesuffix(".")
    return _short(" ".join(text.split())) or "the value"


def _short(text: str) -> str:
    return text if len(text) <= 64 else text[:63] + "…"
