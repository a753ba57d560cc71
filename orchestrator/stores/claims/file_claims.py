"""The claim store in a folder of one machine: a file for each value, written atomically and fsynced."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.execution.errors import ClaimsUnavailable

T = TypeVar("T")


class FileClaims:
    """Values under `<folder>/<first two digits>/<sha256>`; their time of change is that of their last use.

    Nothing is deleted by itself: files unused for longer than the retention can be.

    Args:
        folder: made when it is first needed.
    """

    kind = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, sha256: str, data: bytes) -> None:
        """See `ClaimStore.put`."""
        await self._run(lambda: self._put(self._path(sha256), data))

    async def get(self, sha256: str) -> bytes | None:
        """See `ClaimStore.get`."""
        return await self._run(lambda: self._get(self._path(sha256)))

    async def get_many(self, sha256s: Sequence[str]) -> list[bytes | None]:
        """See `ClaimStore.get_many`."""
        return list(await asyncio.gather(*(self.get(sha256) for sha256 in sha256s)))

    async def prolong(self, sha256s: Collection[str]) -> list[str]:
        """See `ClaimStore.prolong`."""
        return await self._run(lambda: [sha256 for sha256 in sha256s if not _touch(self._path(sha256))])

    async def identity(self) -> str:
        """See `ClaimStore.identity`: a random id in a file of the folder."""
        return await self._run(self._identity)

    async def take_turn(self, seconds: float) -> bool:
        """See `ClaimStore.take_turn`: nothing expires here, so there is nothing to prolong."""
        return False

    async def give_turn_back(self) -> None:
        """See `ClaimStore.give_turn_back`."""

    async def aclose(self) -> None:
        """See `ClaimStore.aclose`: nothing is held open."""

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise ClaimsUnavailable(
                f"the claim store in {self._folder} fails: {error}",
                hint="check that CLAIM_STORE_PATH is there, writable and not full",
                retry_after_seconds=2,
            ) from error

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _put(self, path: Path, data: bytes) -> None:
        if _touch(path):
            # Whoever wrote it may have died between the rename and the fsync of the folder.
            _sync_folder(path.parent)
            return
        self._make(path.parent)
        _write(path, data)

    def _get(self, path: Path) -> bytes | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        _touch(path)
        return data

    def _make(self, folder: Path) -> None:
        for level in (self._folder, folder):
            if not level.is_dir():
                level.mkdir(parents=True, exist_ok=True, mode=0o700)
                _sync_folder(level.parent)

    def _identity(self) -> str:
        path = self._folder / "store-id"
        self._make(self._folder)
        if not path.exists():
            fresh = self._folder / f".{uuid.uuid4().hex}"
            fresh.write_text(uuid.uuid4().hex)
            try:
                # A link is made once, whoever comes second keeps the first one's id.
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return f"file:{path.read_text()}"


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with open(fresh, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
