"""The tokenizer."""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import MAX_INT, Json

# The standard `re` reads our own linear pattern here; patterns written by users only ever reach RE2.
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<text>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")
    | (?P<op>\?\?|\?\.|=>|==|!=|<=|>=|&&|\|\||//|[-+*/%<>!?:.,()\[\]{}|])
    | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
_WORDS = {word: word for word in ("true", "false", "null", "and", "or", "not", "in")}
_SYMBOLS = {"&&": "and", "||": "or"}


class Token(NamedTuple):
    """A token.

    Attributes:
        kind: `name`, `number`, `text`, `end`, or the operator or keyword itself (`&&` and `||` are `and` and `or`).
        value: Text of a name or keyword, value of a number or a text literal.
        column: Position in the expression, from 1.
    """

    kind: str
    value: Json
    column: int


def tokenize(source: str, start: int = 0, base: int = 0, closing: bool = False) -> tuple[list[Token], int]:
    """Split an expression into tokens.

    Args:
        source: Text that holds the expression.
        start: Where the expression starts in `source`.
        base: Where columns start to count in `source`.
        closing: Whether the expression ends at the first `}}` outside text literals and at brace depth 0, rather
            than at the end of `source`.

    Returns:
        The tokens, an `end` token last, and the offset behind the expression (behind the `}}`).

    Raises:
        ExpressionError: `E_SYNTAX`.
    """
    tokens: list[Token] = []
    match, new, shift = _TOKEN.match, tuple.__new__, 1 - base
    depth, position = 0, start
    while found := match(source, position):
        kind: str = found.lastgroup or "end"
        at, position = found.span(kind)
        value: Json = source[at:position]
        column = at + shift
        if kind == "name":
            kind = _WORDS.get(value, kind)
        elif kind == "op":
            kind = _SYMBOLS.get(value) or str(value)
            if value == "{":
                depth += 1
            elif value == "}":
                if depth == 0 and closing and source.startswith("}", position):
                    tokens.append(Token("end", None, column))
                    return tokens, position + 1
                depth -= 1
        elif kind == "text":
            value = _text(value, column)
        elif kind == "number":
            value = _number(value, column)
        else:
            if closing:
                raise ExpressionError("E_SYNTAX", "'{{' is never closed", column=1, hint="end the expression with '}}'")
            tokens.append(Token("end", None, column))
            return tokens, at
        # A third of the time of Token(…), which would be a third of the time of the tokenizer.
        tokens.append(new(Token, (kind, value, column)))
    raise _unreadable(source, position, base)


def _number(literal: str, column: int) -> int | float:
    if literal.isdigit():
        # One more than the largest integer passes here: with a minus before it, it is the smallest one.
        if len(literal) < 20 and (integer := int(literal)) <= MAX_INT + 1:
            return integer
    elif (number := float(literal)) - number == 0:
        return number
    raise ExpressionError("E_SYNTAX", "the number is out of range", column=column)


def _text(literal: str, column: int) -> str:
    body = literal[1:-1]
    if "\\" not in body:
        return body

    def unescape(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        try:
            return _ESCAPES[found[2]]
        except KeyError:
            raise ExpressionError(
                "E_SYNTAX",
                f"unknown escape '\\{found[2]}' in a text literal",
                column=column + 1 + found.start(),
                hint="the escapes are \\\\ \\' \\\" \\n \\t \\r \\uXXXX; write \\\\ for a backslash",
            ) from None

    text = _ESCAPE.sub(unescape, body)
    try:
        # Joins the two halves of an escaped character outside the Basic Multilingual Plane.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ExpressionError("E_SYNTAX", "half of a \\u surrogate pair in a text literal", column=column) from None


def _unreadable(source: str, position: int, base: int) -> ExpressionError:
    while source[position] in " \t\r\n":
        position += 1
    character, column = source[position], position - base + 1
    if character in "'\"":
        return ExpressionError("E_SYNTAX", "the text literal is never closed", column=column)
    hints = {
        "=": "compare with '=='; an expression cannot assign",
        "&": "write '&&' or 'and'",
        "`": "write text literals as '…' or \"…\"",
        "$": "names have no '$'",
        "^": "write pow(a, b)",
    }
    shown = character if character.isprintable() else f"\\u{ord(character):04x}"
    return ExpressionError("E_SYNTAX", f"unexpected character '{shown}'", column=column, hint=hints.get(character))
