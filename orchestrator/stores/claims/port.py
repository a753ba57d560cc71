"""What a claim store offers: values by the SHA-256 of their bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class ClaimStore(Protocol):
    """Keeps bytes under their SHA-256 (64 hex digits). The first call connects, not the constructor."""

    @property
    def kind(self) -> str:
        """`redis`, `file` or `s3`; references in histories carry it."""

    async def put(self, sha256: str, data: bytes) -> None:
        """Keep a value, on disk when this returns, or prolong it where it is kept already.

        Raises:
            Unavailable: the store did not confirm; the value may be there.
        """

    async def get(self, sha256: str) -> bytes | None:
        """Return a value and prolong it; None where there is none.

        Raises:
            Unavailable: the store does not answer.
        """

    async def get_many(self, sha256s: Sequence[str]) -> list[bytes | None]:
        """Return several values, each as `get` does, in their order.

        Raises:
            Unavailable: the store does not answer.
        """

    async def prolong(self, sha256s: Collection[str]) -> list[str]:
        """Let values start their time anew; returns those that are missing.

        Raises:
            Unavailable: the store does not answer.
        """

    async def identity(self) -> str:
        """Return what is the same for every process that uses this very store, and for no other.

        Raises:
            Unavailable: the store does not answer.
        """

    async def take_turn(self, seconds: float) -> bool:
        """Return whether the caller is the one to go through all claims in the next so many seconds.

        Raises:
            Unavailable: the store does not answer.
        """

    async def give_turn_back(self) -> None:
        """Let another one take the turn: the round failed.

        Raises:
            Unavailable: the store does not answer.
        """

    async def aclose(self) -> None:
        """Give connections back; a later call opens new ones."""
