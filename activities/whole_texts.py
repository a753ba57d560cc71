"""Texts that every payload can carry: half of a surrogate pair, legal in JSON's escapes, has no UTF-8."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

DEEPEST_JSON: Final = 100
"""Deeper values cannot be carried by what serialises payloads."""

Model = TypeVar("Model", bound=BaseModel)


def whole_text(text: str) -> str:
    """Replace lone surrogates by U+FFFD; the halves of a pair that stand side by side become its character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def whole_value(value: Any, depth: int = 0) -> Any:
    """Replace lone surrogates in all texts of a JSON value.

    Raises:
        ValueError: the value is nested deeper than `DEEPEST_JSON`.
    """
    if depth > DEEPEST_JSON:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [whole_value(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {whole_text(key): whole_value(item, depth + 1) for key, item in value.items()}
    return value


def whole_result(result: Model) -> Model:
    """Return a result that a payload can carry: itself, or a copy without lone surrogates.

    Raises:
        ValueError: it holds what is no JSON, or is nested deeper than `DEEPEST_JSON`.
    """
    try:
        to_json(result)
    except PydanticSerializationError:
        return type(result).model_validate(whole_value(result.model_dump()))
    return result
