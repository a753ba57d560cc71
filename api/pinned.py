"""What a start is pinned to: a stored version of a definition, or one made for this start alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Pinned(Protocol):
    """A definition that an execution keeps whatever is stored later."""

    @property
    def workflow_id(self) -> str:
        """The definition's id."""

    @property
    def version(self) -> int | None:
        """Its version; None where it is not stored."""

    @property
    def sha256(self) -> str:
        """Hash of its canonical JSON."""

    @property
    def definition(self) -> dict[str, Any]:
        """Validated, normalised."""


@dataclass(frozen=True, slots=True)
class UnstoredDefinition:
    """A definition made for one start."""

    workflow_id: str
    sha256: str
    definition: dict[str, Any]
    version: None = None
