"""The one error that leaves the expression engine."""

from __future__ import annotations

from typing import Any, TypeVar

Text = TypeVar("Text", str, str | None)

_WIDTH = 100


class ExpressionError(Exception):
    """An expression or a template that cannot be compiled or evaluated.

    Attributes:
        code: `E_SYNTAX`, `E_NAME`, `E_FUNCTION`, `E_STEP`, `E_LIMIT` (create time), `E_MISSING`, `E_NULL`,
            `E_TYPE`, `E_RANGE`, `E_DATE`, `E_JSON`, `E_PATTERN`, `E_LIMIT` (run time).
        message: One sentence without the code.
        pointer: JSON pointer of the template value inside its document; empty when unknown.
        expression: Source text that `column` counts in; `None` when no expression is involved.
        column: Position in `expression`, from 1.
        hint: The way out, when there is an obvious one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        pointer: str = "",
        column: int | None = None,
        hint: str | None = None,
        expression: str | None = None,
    ) -> None:
        """Create the error; the engine fills in pointer, expression and column where it knows them."""
        message = encodable(message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.pointer = pointer
        self.column = column
        self.hint = encodable(hint)
        self.expression = encodable(expression)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep every attribute over pickling and copying, which by default replay `args` only."""
        return type(self), (self.code, self.message, self.pointer, self.column, self.hint, self.expression)

    def to_dict(self) -> dict[str, str | int | None]:
        """Return the error as JSON: code, message, pointer, expression, column, hint."""
        return {
            "code": self.code,
            "message": self.message,
            "pointer": self.pointer,
            "expression": self.expression,
            "column": self.column,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        """Render the message with the expression and a caret under the column."""
        lines = [f"{self.code}: {self.message}"]
        if self.expression is not None:
            lines += _caret(self.expression, self.column)
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


def encodable(text: Text) -> Text:
    """Return the text with `?` for halves of surrogate pairs, which a failure message could not carry over the wire."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _caret(expression: str, column: int | None) -> list[str]:
    if column is None:
        line = expression.split("\n", 1)[0]
        return [f"    {line[:_WIDTH]}{'…' if len(line) > _WIDTH else ''}"]
    start = expression.rfind("\n", 0, column - 1) + 1
    end = expression.find("\n", column - 1)
    line = expression[start : end if end >= 0 else len(expression)].replace("\t", " ").rstrip("\r")
    offset = column - 1 - start
    if len(line) > _WIDTH:
        cut = max(0, offset - _WIDTH // 2)
        lead, offset = ("…", offset - cut + 1) if cut else ("", offset)
        line = lead + line[cut : cut + _WIDTH] + ("…" if cut + _WIDTH < len(line) else "")
    return [f"    {line}", f"    {' ' * offset}^ column {column}"]
