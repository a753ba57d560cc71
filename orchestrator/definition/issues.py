"""One thing wrong with a document, as validation reports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.expressions import ExpressionError


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a document: what, where, and the way out."""

    code: str
    message: str
    pointer: str = ""
    """JSON pointer (RFC 6901) into the document that was sent."""
    hint: str | None = None
    expression: str | None = None
    column: int | None = None

    @property
    def text(self) -> str:
        """The issue for people: what is wrong, a caret under the expression's column, the way out."""
        return str(
            ExpressionError(self.code, self.message, column=self.column, hint=self.hint, expression=self.expression)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; absent fields are left out, and `text` where there is no expression to point at."""
        found = {
            "code": self.code,
            "message": self.message,
            "pointer": self.pointer,
            "hint": self.hint,
            "expression": self.expression,
            "column": self.column,
            "text": self.text if self.expression is not None else None,
        }
        return {key: value for key, value in found.items() if value is not None}


def pointer_to(parts: Iterable[str | int], base: str = "") -> str:
    """Return the JSON pointer of a path below `base`, with `~` and `/` escaped (RFC 6901)."""
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
