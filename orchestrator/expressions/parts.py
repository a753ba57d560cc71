"""What a template is made of: strings, lists and objects as code, and the slots of secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.expression import Expression
from orchestrator.expressions.meter import SLOT, Evaluation, Json
from orchestrator.expressions.values import to_text


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret by name; only the activity knows its value."""

    name: str


@dataclass(frozen=True, slots=True)
class SecretSlot:
    """A string of a rendered value that the activity has to fill.

    Attributes:
        pointer: JSON pointer of the string inside the rendered value, where null stands for it.
        parts: What to join.
    """

    pointer: str
    parts: tuple[str | SecretRef, ...]


Slots: TypeAlias = list[SecretSlot] | None
Part: TypeAlias = Callable[[Evaluation, Slots], Json]


def whole_part(expression: Expression, depth: int) -> Part:
    """Return the part of a string that is one expression: its value, with its type."""
    return lambda state, slots: expression.run(state, depth)


def _shown(state: Evaluation, expression: Expression) -> str:
    value = expression.run(state, 0)
    try:
        return to_text(state, value)
    except ExpressionError as error:
        if error.code == "E_NULL":
            error.message, error.hint = "null cannot stand in text", "give a default: ?? ''"
        expression.locate(error)
        raise


def mixed_part(pieces: list[str | Expression]) -> Part:
    """Return the part of a string of text and expressions."""

    def render(state: Evaluation, slots: Slots) -> Json:
        texts = [piece if isinstance(piece, str) else _shown(state, piece) for piece in pieces]
        state.text(sum(map(len, texts)))
        return "".join(texts)

    return render


def secret_part(pieces: list[str | Expression], place: str, pointer: str) -> Part:
    """Return the part of a string with secrets: null, and a slot that says what belongs there."""

    def render(state: Evaluation, slots: Slots) -> Json:
        if slots is None:
            hint = "secrets stand only in auth, headers, query, and tool or MCP credentials"
            raise ExpressionError("E_NAME", "secrets cannot be read here", pointer, hint=hint)
        parts: list[str | SecretRef] = []
        for piece in pieces:
            if isinstance(piece, Expression) and piece.secret is not None:
                parts.append(SecretRef(piece.secret))
            else:
                text = piece if isinstance(piece, str) else _shown(state, piece)
                state.text(len(text))
                parts.append(text)
        slots.append(SecretSlot(place, tuple(part for part in parts if part != "")))
        return None

    return render


def list_part(value: list[Json], items: list[Part | None]) -> Part:
    """Return the part of a list, of which some items are literal."""
    pairs = list(zip(value, items, strict=True))

    def render(state: Evaluation, slots: Slots) -> Json:
        state.allocate(SLOT + SLOT * len(pairs))
        return [item if part is None else part(state, slots) for item, part in pairs]

    return render


def object_part(value: dict[str, Json], fields: dict[str, Part | None]) -> Part:
    """Return the part of an object, of which some fields are literal."""
    triples = [(key, value[key], part) for key, part in fields.items()]

    def render(state: Evaluation, slots: Slots) -> Json:
        state.allocate(SLOT + 2 * SLOT * len(triples))
        return {key: item if part is None else part(state, slots) for key, item, part in triples}

    return render
