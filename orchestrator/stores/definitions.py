"""Workflow definitions in Redis: immutable versions, fsynced before they are acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from orchestrator.execution.errors import VersionConflict, WorkflowExists, WorkflowNotFound
from orchestrator.stores.pages import Page
from orchestrator.stores.pauses import Pause, PauseTurn
from orchestrator.stores.versioned import Filter, StoredVersion, VersionedStore, VersionRow, Written


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One version of a definition. Times are aware UTC; `updated_at` is this version's, or the deletion's."""

    workflow_id: str
    version: int
    sha256: str
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted: bool
    paused: Pause | None = None


class DefinitionStore:
    """Definitions by `workflow_id`. Every method raises `RedisUnavailable` in under 2 s where Redis is away."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._store = VersionedStore(redis, prefix, "definitions")

    async def create(self, document: dict[str, Any], sha256: str) -> StoredDefinition:
        """Store a definition under its `workflow_id`; one that was deleted gets its next version.

        Raises:
            WorkflowExists: the id is taken.
        """
        workflow_id = str(document["workflow_id"])
        written = await self._store.write("create", workflow_id, document, sha256, _summary(document))
        if written.outcome == "exists":
            raise WorkflowExists(
                f"workflow '{workflow_id}' exists (version {written.latest})",
                hint=f"update it with PUT /api/v1/workflows/{workflow_id}, or choose another workflow_id or name",
                details={"workflow_id": workflow_id, "version": written.latest},
            )
        return _stored(written)

    async def put(
        self, workflow_id: str, document: dict[str, Any], sha256: str, *, if_version: int | None = None
    ) -> tuple[StoredDefinition, bool]:
        """Store the next version, or nothing where the content equals the latest version's.

        Args:
            workflow_id: its id.
            document: the validated, normalised document.
            sha256: its canonical hash.
            if_version: the version that the caller read (0: it must be new).

        Returns:
            What is stored now, and whether the workflow is new (or was deleted before).

        Raises:
            VersionConflict: the latest version is not `if_version`.
        """
        written = await self._store.write(
            "put", workflow_id, document, sha256, _summary(document), if_version=if_version
        )
        if written.outcome == "conflict":
            raise _conflict(workflow_id, if_version, written.latest)
        return _stored(written), written.outcome == "created"

    async def get(self, workflow_id: str, version: int | None = None) -> StoredDefinition:
        """Return a version, the latest by default, with `deleted` set where the workflow was deleted.

        Raises:
            WorkflowNotFound: no such workflow or version.
        """
        try:
            found = await self._store.read(workflow_id, version)
        except LookupError as error:
            message = f"workflow '{workflow_id}' has no version {version}; the latest is {error.args[0]}"
            raise WorkflowNotFound(message, details={"latest": error.args[0]}) from None
        if found is None:
            raise await self._not_found(workflow_id)
        return _definition(found)

    async def delete(self, workflow_id: str, *, if_version: int | None = None) -> None:
        """Mark the workflow as deleted; its versions stay readable. Deleting twice is no error.

        Raises:
            WorkflowNotFound: no such workflow.
            VersionConflict: the latest version is not `if_version`.
        """
        outcome, latest = await self._store.delete(workflow_id, if_version=if_version)
        if outcome == "missing":
            raise await self._not_found(workflow_id)
        if outcome == "conflict":
            raise _conflict(workflow_id, if_version, latest)

    async def set_pause(self, workflow_id: str, *, paused: bool, reason: str = "", by: str = "") -> PauseTurn:
        """Pause a workflow, or end its pause; of a deleted one too: executions of it may run.

        Returns:
            The flag now; `changed` is also true where it was so, and an earlier caller did not reach `close_turn`.

        Raises:
            WorkflowNotFound: no such workflow.
        """
        turn = await self._store.set_pause(workflow_id, paused=paused, reason=reason, by=by)
        if turn is None:
            raise await self._not_found(workflow_id)
        return turn

    async def close_turn(self, workflow_id: str, turn: int) -> PauseTurn:
        """Note that every execution was told of a change; return the latest one, `changed` if that is another."""
        return await self._store.close_turn(workflow_id, turn)

    async def pause(self, workflow_id: str) -> Pause | None:
        """Return the workflow's pause; None where it is not paused, or unknown."""
        return await self._store.pause(workflow_id)

    async def versions(self, workflow_id: str, *, limit: int, cursor: str | None = None) -> Page[VersionRow]:
        """Return versions, newest first.

        Raises:
            WorkflowNotFound: no such workflow.
            RequestError: bad limit or cursor.
        """
        page = await self._store.versions(workflow_id, limit=limit, cursor=cursor)
        if page is None:
            raise await self._not_found(workflow_id)
        return page

    async def list(
        self, *, limit: int, cursor: str | None = None, tag: str | None = None, text: str | None = None
    ) -> Page[StoredDefinition]:
        """Return live definitions by id, latest versions.

        Args:
            limit: items per page, 1 to 200.
            cursor: `next_cursor` of the page before.
            tag: `key=value`.
            text: looked for in id, name and description, in any case.

        Raises:
            RequestError: bad limit, cursor or tag.
        """
        page = await self._store.list(limit=limit, cursor=cursor, shown=Filter(tag, text))
        return Page([_definition(item) for item in page.items], page.next_cursor)

    async def _not_found(self, workflow_id: str) -> WorkflowNotFound:
        near = await self._store.nearest(workflow_id)
        hint = f"did you mean '{near}'?" if near else "GET /api/v1/workflows/ lists the workflows"
        return WorkflowNotFound(f"there is no workflow '{workflow_id[:100]}'", hint=hint)


def _conflict(workflow_id: str, expected: int | None, latest: int) -> VersionConflict:
    return VersionConflict(
        f"workflow '{workflow_id}' is at version {latest}, not {expected}",
        hint="read it again, apply your change to that version and send its version in If-Match",
        details={"workflow_id": workflow_id, "version": latest},
    )


def _stored(written: Written) -> StoredDefinition:
    if written.stored is None:
        raise AssertionError(f"a write that ended in '{written.outcome}' stored nothing")
    return _definition(written.stored)


def _definition(item: StoredVersion) -> StoredDefinition:
    return StoredDefinition(
        item.id, item.version, item.sha256, item.document, item.created_at, item.updated_at, item.deleted, item.pause
    )


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    return {key: document.get(key) for key in ("name", "description", "tags") if document.get(key) is not None}
