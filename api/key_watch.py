"""Watches the API keys of answers that take long: a revocation counts for those too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.execution.errors_access import Unauthenticated
from orchestrator.stores.api_keys import BOOTSTRAP, ApiKey, ApiKeys

CHECK_SECONDS = 2.0
"""A revocation is promised to count within five."""


class KeyWatch:
    """Looks from time to time whether the keys of open answers are still active, with one call for all of them.

    While Redis is away nobody can tell; no event comes then either.

    Args:
        keys: the keys of the deployment.
    """

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._checking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, key: ApiKey | None) -> Iterator[asyncio.Event]:
        """Give an event that is set when the key is revoked or expires; None, no key, never is."""
        ended = asyncio.Event()
        if key is None or key.key_id == BOOTSTRAP:
            yield ended
            return
        self._watched.setdefault(key.key_id, set()).add(ended)
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_on())
        try:
            yield ended
        finally:
            left = self._watched[key.key_id]
            left.discard(ended)
            if not left:
                del self._watched[key.key_id]

    async def require(self, key: ApiKey | None) -> None:
        """Refuse an answer to a key that is not active any more.

        Raises:
            Unauthenticated: it was revoked or expired since the request came.
            RedisUnavailable: nobody can tell.
        """
        if key is not None and key.key_id != BOOTSTRAP and await self._keys.inactive([key.key_id]):
            raise Unauthenticated(
                f"the API key '{key.name}' was revoked or expired during the request; what it began goes on",
                hint="ask an administrator for another",
            )

    async def aclose(self) -> None:
        """Stop looking."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)

    async def _check_on(self) -> None:
        while self._watched:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                gone = await self._keys.inactive(list(self._watched))
            except RedisUnavailable:
                continue
            for key_id in gone:
                for ended in self._watched.get(key_id, ()):
                    ended.set()
