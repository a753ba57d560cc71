"""Function calls as code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Closure
from orchestrator.expressions.meter import Evaluation, Json
from orchestrator.expressions.paths import Code


def call_code(run: Callable[..., Json], arguments: list[Any], column: int, propagates: bool, lenient: bool) -> Code:
    """Return code that calls a function.

    Args:
        run: The function.
        arguments: Code of the arguments; a `Closure` is passed as it is.
        column: Where the function is named, for its errors.
        propagates: Whether a first argument of null is the result.
        lenient: Whether the function's own `E_MISSING` (first of an empty array) is null.
    """
    if not propagates and len(arguments) == 1:
        single = arguments[0]

        def one(state: Evaluation) -> Json:
            try:
                return run(state, single(state))
            except ExpressionError as error:
                if error.column is None:
                    error.column = column
                raise

        return one
    places = [None if type(argument) is Closure else argument for argument in arguments]

    def many(state: Evaluation) -> Json:
        values = []
        for place, code in enumerate(places):
            value = arguments[place] if code is None else code(state)
            if value is None and place == 0 and propagates:
                return None
            values.append(value)
        try:
            return run(state, *values)
        except ExpressionError as error:
            if error.column is None:
                if lenient and error.code == "E_MISSING":
                    return None
                error.column = column
            raise

    return many
