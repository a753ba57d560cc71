"""Names of secrets: what an environment variable and a file may both be called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.definition import limits
from orchestrator.expressions import ExpressionError, Reference

_NAME = re.compile(limits.SECRET_NAME_PATTERN)


def is_secret_name(name: str) -> bool:
    """Return whether a secret may be called so."""
    return _NAME.fullmatch(name) is not None


def misnamed_secrets(references: Iterable[Reference]) -> list[ExpressionError]:
    """Return an error for every reference to a secret that cannot exist."""
    return [
        ExpressionError(
            "E_NAME",
            f"'{(item.field or '')[:64]}' is no name of a secret",
            item.pointer,
            item.column,
            "letters, digits and '_', not a digit first, 64 characters at most",
            item.expression,
        )
        for item in references
        if item.root == "secrets" and not is_secret_name(item.field or "")
    ]
