"""Revisions of a schedule: Temporal counts changes and pauses, so that a writer can insist on what it read."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import temporalio.converter
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, UpdateScheduleRequest
from temporalio.client import Client, ScheduleDescription, ScheduleUpdate

from orchestrator.execution.errors import VersionConflict


def revision_of(found: ScheduleDescription) -> int:
    """Return the number of the schedule's latest change; a run is none."""
    return int.from_bytes(found.raw_description.conflict_token, "big")


def check_revision(found: ScheduleDescription, expected: int | None) -> None:
    """Refuse a change that rests on another one.

    Raises:
        VersionConflict: somebody changed the schedule since.
    """
    present = revision_of(found)
    if expected is not None and expected != present:
        raise _conflict(found.id, present, f"at revision {present}, not {expected}")


async def update_revision(
    client: Client, found: ScheduleDescription, update: ScheduleUpdate, *, last: bool = False
) -> None:
    """Change a schedule if it is still as it was described; the SDK's `update` does not insist on that.

    Args:
        client: of the schedule's namespace.
        found: what the change rests on.
        update: the change.
        last: nobody may have paused or resumed it behind this change either.

    Raises:
        VersionConflict: somebody changed the schedule meanwhile.
        RPCError: Temporal refuses the schedule.
    """
    request = UpdateScheduleRequest(
        namespace=client.namespace,
        schedule_id=found.id,
        schedule=await update.schedule._to_proto(client),
        conflict_token=found.raw_description.conflict_token,
        identity=client.identity,
        request_id=str(uuid.uuid4()),
    )
    if update.search_attributes is not None:
        temporalio.converter.encode_search_attributes(update.search_attributes, request.search_attributes)
    await client.workflow_service.update_schedule(request, retry=True)
    # Temporal drops an update that lost the race, and says nothing of it.
    present = await client.workflow_service.describe_schedule(
        DescribeScheduleRequest(namespace=client.namespace, schedule_id=found.id), retry=True
    )
    number = int.from_bytes(present.conflict_token, "big")
    # A pause that came behind this change leaves its words as they are.
    changed_since = number > revision_of(found) + 1 and not last
    same_state = _state(present.schedule) == _state(request.schedule)
    if _words(present.schedule) != _words(request.schedule) or not (same_state or changed_since):
        raise _conflict(found.id, number, f"at revision {number}: somebody else was faster")


async def claim_deletion(client: Client, found: ScheduleDescription, expected: int) -> None:
    """Pause a schedule that is about to be deleted, if it still is at this revision: a deletion cannot insist on one.

    Whoever rests a change on the same revision is refused from now on. The same deletion may be sent again.

    Raises:
        VersionConflict: somebody changed the schedule since.
        RPCError: Temporal does not take it.
    """
    note = f"is being deleted at revision {expected}"
    if found.schedule.state.note == note:
        return
    check_revision(found, expected)
    held = replace(found.schedule, state=replace(found.schedule.state, paused=True, note=note))
    await update_revision(client, found, ScheduleUpdate(held), last=True)


def _words(schedule: Schedule) -> tuple[Any, Any, Any]:
    """What an update says: the memo holds the schedule as it was sent, all but the input."""
    start = schedule.action.start_workflow
    return start.memo, start.input, schedule.spec


def _state(schedule: Schedule) -> tuple[bool, str]:
    return schedule.state.paused, schedule.state.notes


def _conflict(schedule_id: str, present: int, what: str) -> VersionConflict:
    return VersionConflict(
        f"schedule '{schedule_id}' is {what}",
        hint="read it again, apply your change to that version and send its ETag in If-Match",
        details={"schedule_id": schedule_id, "revision": present},
    )
