"""The syntax tree. Columns count from 1 in the expression; operators of one level are one flat node, not a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.expressions.meter import Json


@dataclass(slots=True)
class Literal:
    """A number, a text, true, false or null."""

    value: Json
    column: int


@dataclass(slots=True)
class Name:
    """A root name, looked up in the context."""

    name: str
    column: int


@dataclass(slots=True)
class Local:
    """A lambda parameter."""

    name: str
    slot: int
    column: int


@dataclass(slots=True)
class Access:
    """One step of a path: `.key`, `?.key`, `[index]` or `?.[index]`."""

    key: str | int | None
    index: Node | None
    optional: bool
    column: int


@dataclass(slots=True)
class Path:
    """Fields and indexes taken from a value."""

    base: Node
    steps: list[Access]
    column: int


@dataclass(slots=True)
class Call:
    """A function call; `x.f(a)`, `f(x, a)` and `x | f(a)` are the same node."""

    name: str
    arguments: list[Node | Lambda]
    optional: bool
    start: int
    column: int


@dataclass(slots=True)
class Lambda:
    """`x => body`, an argument of a call."""

    parameters: int
    slot: int
    body: Node
    column: int


@dataclass(slots=True)
class Array:
    """`[a, b]`."""

    items: list[Node]
    column: int


@dataclass(slots=True)
class Object:
    """`{k: v}`."""

    keys: list[str]
    values: list[Node]
    column: int


@dataclass(slots=True)
class Unary:
    """`-x` or `!x` (also `not x`)."""

    operator: str
    operand: Node
    column: int


@dataclass(slots=True)
class Arithmetic:
    """`a + b - c`: operators of one level, applied from the left."""

    first: Node
    rest: list[tuple[str, Node, int]]
    column: int


@dataclass(slots=True)
class Comparison:
    """`a < b`, `a in b`, `a not in b`."""

    operator: str
    left: Node
    right: Node
    column: int


@dataclass(slots=True)
class Logic:
    """`a and b and c`, or the same with `or`."""

    operator: str
    operands: list[Node]
    column: int


@dataclass(slots=True)
class Coalesce:
    """`a ?? b ?? c`; every operand but the last is read leniently."""

    operands: list[Node]
    column: int


@dataclass(slots=True)
class Conditional:
    """`c ? a : d ? b : e`, with the conditions and values in order."""

    cases: list[tuple[Node, Node]]
    otherwise: Node
    column: int


Node: TypeAlias = (
    Literal
    | Name
    | Local
    | Path
    | Call
    | Array
    | Object
    | Unary
    | Arithmetic
    | Comparison
    | Logic
    | Coalesce
    | Conditional
)
