"""Revisions of a schedule: Temporal counts changes and pauses, so that a writer can insist on what it read."""

from __future__ import annotations

import uuid
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


async def update_revision(client: Client, found: ScheduleDescription, update: ScheduleUpdate) -> None:
    """Change a schedule if it is still as it was described; the SDK's `update` does not insist on that.

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
    if _words(present.schedule) != _words(request.schedule):
        number = int.from_bytes(present.conflict_token, "big")
        raise _conflict(found.id, number, f"at revision {number}: somebody else was faster")


def _words(schedule: Schedule) -> tuple[Any, Any, Any]:
    """What an update says: the memo holds the schedule as it was sent, all but the input."""
    start = schedule.action.start_workflow
    return start.memo, start.input, schedule.spec


def _conflict(schedule_id: str, present: int, what: str) -> VersionConflict:
    return VersionConflict(
        f"schedule '{schedule_id}' is {what}",
        hint="read it again, apply your change to that version and send its ETag in If-Match",
        details={"schedule_id": schedule_id, "revision": present},
    )
