"""Schedules: Temporal's own, each starting executions of one definition by reference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
import structlog
from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionResult,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Services
from api.execution_lists import tags_of
from api.schedule_revisions import check_revision, claim_deletion, revision_of, update_revision
from api.schedule_times import spec_of
from api.schemas.schedules import (
    NewSchedule,
    Overlap,
    ScheduleBody,
    ScheduleDocument,
    ScheduledRun,
    SchedulePage,
    ScheduleSummary,
)
from api.starts import check_input, check_tags, pin_definition
from api.temporal_pages import page_cursor, page_token
from api.times import text_of
from orchestrator.client import deleted_note, pause_schedule
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import PayloadTooLarge, RequestError, TemporalUnavailable
from orchestrator.execution.errors_schedules import ScheduleExists, ScheduleNotFound
from orchestrator.execution.messages import WORKFLOW_TYPE, Lineage, StartExecution
from orchestrator.workflows.search_attributes import DEFINITION_ID, DEFINITION_VERSION, at_start

log = structlog.get_logger(__name__)

MEMO = "schedule"
"""Key of the action's memo that holds the schedule as it was sent: Temporal keeps its meaning, not its words."""
INPUT_BYTES = 64 * 1024
"""Below every claim threshold: a claim ends some time after its last use, and a schedule may pause longer than that."""
_FOREIGN = "schedule '{}' starts something else than an execution"


class ScheduleService:
    """Creates, reads and changes schedules.

    Args:
        services: the app's services.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client = services.temporal
        self._calls = services.calls

    async def create(self, body: NewSchedule) -> ScheduleDocument:
        """Create a schedule.

        Raises:
            ScheduleExists: the id is taken.
            WorkflowNotFound: there is no such workflow or version.
            WorkflowDeleted: it starts no more executions.
            RequestError: the input breaks the definition's schema, or Temporal refuses the schedule.
        """
        await self._check(body)
        schedule = self._schedule(body.schedule_id, body, paused=bool(body.paused))
        try:
            async with self._calls.bounded():
                await self._client.create_schedule(body.schedule_id, schedule, search_attributes=_attributes(body))
        except ScheduleAlreadyRunningError as error:
            raise ScheduleExists(
                f"schedule '{body.schedule_id}' exists",
                hint=f"change it with PUT /api/v1/schedules/{body.schedule_id}, or choose another schedule_id",
            ) from error
        except RPCError as error:
            raise _refused(error, body.schedule_id) from error
        return await self.read(body.schedule_id)

    async def read(self, schedule_id: str) -> ScheduleDocument:
        """Return a schedule.

        Raises:
            ScheduleNotFound: there is none with this id.
        """
        found = await self._describe(schedule_id)
        action = _action_of(found)
        body, value = await self._body_of(action)
        info, state = found.info, found.schedule.state
        return ScheduleDocument(
            schedule_id=schedule_id,
            revision=revision_of(found),
            paused=state.paused,
            note=state.note or "",
            next_runs=[text_of(moment) or "" for moment in info.next_action_times],
            recent_runs=_runs(info.recent_actions),
            running=[
                item.workflow_id
                for item in info.running_actions
                if isinstance(item, ScheduleActionExecutionStartWorkflow)
            ],
            runs=info.num_actions,
            missed_runs=info.num_actions_missed_catchup_window,
            skipped_runs=info.num_actions_skipped_overlap,
            created_at=text_of(info.created_at),
            updated_at=text_of(info.last_updated_at),
            input_data=value,
            **{**body, "tags": body.get("tags") or {}},
        )

    async def replace(self, schedule_id: str, body: ScheduleBody, *, if_revision: int | None) -> ScheduleDocument:
        """Replace all of a schedule; its runs and their counts stay.

        Args:
            schedule_id: which one.
            body: all of it.
            if_revision: what the change rests on.

        Raises:
            VersionConflict: somebody changed it since.
            ScheduleNotFound: there is none with this id.
            WorkflowNotFound: there is no such workflow or version.
            WorkflowDeleted: it starts no more executions.
            RequestError: as for `create`.
        """
        await self._check(body)
        found = await self._describe(schedule_id)
        _action_of(found)
        check_revision(found, if_revision)

        def changed(present: ScheduleDescription) -> ScheduleUpdate:
            paused = present.schedule.state.paused if body.paused is None else body.paused
            return ScheduleUpdate(self._schedule(schedule_id, body, paused=paused), _attributes(body))

        try:
            async with self._calls.bounded():
                if if_revision is None:
                    handle = self._client.get_schedule_handle(schedule_id)
                    await handle.update(lambda present: changed(present.description))
                else:
                    await update_revision(self._client, found, changed(found))
        except RPCError as error:
            raise _refused(error, schedule_id) from error
        return await self.read(schedule_id)

    async def delete(self, schedule_id: str, *, if_revision: int | None) -> None:
        """Delete a schedule; executions that it started run on.

        Raises:
            ScheduleNotFound: there is none with this id.
            VersionConflict: somebody changed it since.
        """
        found = await self._describe(schedule_id)
        _action_of(found)
        if if_revision is not None:
            await self._claim_deletion(found, if_revision)
        await self._act(schedule_id, "delete")

    async def pause(self, schedule_id: str, reason: str) -> ScheduleDocument:
        """Start nothing until `resume`.

        Raises:
            ScheduleNotFound: there is none with this id.
        """
        _action_of(await self._describe(schedule_id))
        await self._act(schedule_id, "pause", note=reason or "paused by an operator")
        return await self.read(schedule_id)

    async def resume(self, schedule_id: str, reason: str) -> ScheduleDocument:
        """Let a schedule start executions again, from now on.

        Raises:
            ScheduleNotFound: there is none with this id.
            WorkflowDeleted: its workflow starts no more executions.
        """
        await self._check_startable(schedule_id)
        await self._act(schedule_id, "unpause", note=reason or "resumed by an operator")
        return await self.read(schedule_id)

    async def trigger(self, schedule_id: str, overlap: Overlap | None) -> ScheduleDocument:
        """Start a run now, also of a paused schedule.

        Raises:
            ScheduleNotFound: there is none with this id.
            WorkflowDeleted: its workflow starts no more executions.
        """
        await self._check_startable(schedule_id)
        policy = None if overlap is None else ScheduleOverlapPolicy[overlap.upper()]
        await self._act(schedule_id, "trigger", overlap=policy)
        return await self.read(schedule_id)

    async def list(self, *, limit: int, cursor: str | None, workflow_id: str | None) -> SchedulePage:
        """Return a page of schedules from Temporal's visibility, which learns of a change within about a second.

        Raises:
            RequestError: the cursor was not given by this list.
        """
        query = _query(workflow_id)
        token = page_token(query, cursor)
        async with self._calls.bounded():
            pages = await self._client.list_schedules(query, page_size=limit, next_page_token=token)
            await pages.fetch_next_page()
            items, following = list(pages.current_page or ()), pages.next_page_token
            if following:
                await pages.fetch_next_page(page_size=1)
                following = following if pages.current_page else None
        return SchedulePage(
            items=[_summary(item) for item in items],
            next_cursor=page_cursor(query, following) if following else None,
        )

    async def pause_all_of(self, workflow_id: str) -> None:
        """Pause every schedule of a deleted workflow.

        What is missed here, because Temporal is away or knows a new schedule not yet, is paused by its next run,
        which fails.
        """
        try:
            async with self._calls.bounded():
                async for item in await self._client.list_schedules(_query(workflow_id)):
                    await pause_schedule(self._client, item.id, deleted_note(workflow_id))
        except (TemporalUnavailable, RPCError) as error:
            log.warning("schedules of a deleted workflow are not paused yet", workflow_id=workflow_id, error=str(error))

    async def _check(self, body: ScheduleBody) -> None:
        stored = await pin_definition(self._services, body.workflow_id, body.version)
        check_input(stored.definition, body.input_data)
        check_tags({}, body.tags)
        size = len(orjson.dumps(body.input_data))
        if size > INPUT_BYTES:
            raise PayloadTooLarge(
                f"the schedule's input is {size} bytes; {INPUT_BYTES} are allowed",
                hint="keep large values elsewhere and pass a reference to them",
            )

    async def _check_startable(self, schedule_id: str) -> None:
        body, _ = await self._body_of(_action_of(await self._describe(schedule_id)))
        await pin_definition(self._services, body["workflow_id"], body["version"])

    async def _describe(self, schedule_id: str) -> ScheduleDescription:
        try:
            async with self._calls.bounded():
                return await self._client.get_schedule_handle(schedule_id).describe()
        except RPCError as error:
            raise _refused(error, schedule_id) from error

    async def _claim_deletion(self, found: ScheduleDescription, revision: int) -> None:
        try:
            async with self._calls.bounded():
                await claim_deletion(self._client, found, revision)
        except RPCError as error:
            raise _refused(error, found.id) from error

    async def _act(self, schedule_id: str, action: str, **options: Any) -> None:
        handle = self._client.get_schedule_handle(schedule_id)
        try:
            async with self._calls.bounded():
                await getattr(handle, action)(**options)
        except RPCError as error:
            raise _refused(error, schedule_id) from error

    async def _body_of(self, action: ScheduleActionStartWorkflow) -> tuple[dict[str, Any], Any]:
        """Return the schedule as it was sent, and its input."""
        converter = self._client.data_converter
        (start,) = await converter.decode([action.args[0]], [StartExecution])
        memo = (action.memo or {})[MEMO]
        (words,) = await converter.decode([memo])
        return {**words, "workflow_id": start.workflow_id, "version": start.version}, start.input

    def _schedule(self, schedule_id: str, body: ScheduleBody, *, paused: bool) -> Schedule:
        start = StartExecution(
            workflow_id=body.workflow_id,
            version=body.version,
            input=body.input_data,
            lineage=Lineage(schedule_id=schedule_id),
        )
        words = body.model_dump(
            exclude={"schedule_id", "workflow_id", "version", "input_data", "paused", "note"},
        )
        action = ScheduleActionStartWorkflow(
            WORKFLOW_TYPE,
            start,
            # Temporal appends the time of the run.
            id=f"ex-{schedule_id}",
            task_queue=self._services.settings.temporal_task_queue,
            memo={MEMO: words},
            typed_search_attributes=_attributes(body),
            static_summary=f"{body.workflow_id}, by schedule {schedule_id}",
        )
        policy = SchedulePolicy(
            overlap=ScheduleOverlapPolicy[body.overlap.upper()],
            catchup_window=timedelta(seconds=body.catch_up_window_seconds),
            pause_on_failure=body.pause_on_failure,
        )
        return Schedule(action, spec_of(body), policy, ScheduleState(note=body.note or None, paused=paused))


def _attributes(body: ScheduleBody) -> TypedSearchAttributes:
    return at_start(body.workflow_id, body.version, body.tags)


def _query(workflow_id: str | None) -> str:
    return f"{DEFINITION_ID.name} IS NOT NULL" if workflow_id is None else f"{DEFINITION_ID.name} = '{workflow_id}'"


def _action_of(found: ScheduleDescription) -> ScheduleActionStartWorkflow:
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or MEMO not in (action.memo or {}):
        raise ScheduleNotFound(_FOREIGN.format(found.id))
    return action


def _runs(actions: Sequence[ScheduleActionResult]) -> list[ScheduledRun]:
    return [
        ScheduledRun(
            execution_id=item.action.workflow_id,
            scheduled_at=text_of(item.scheduled_at),
            started_at=text_of(item.started_at),
        )
        for item in actions
        if isinstance(item.action, ScheduleActionExecutionStartWorkflow)
    ]


def _summary(found: ScheduleListDescription) -> ScheduleSummary:
    attributes, info = found.typed_search_attributes, found.info
    state = found.schedule.state if found.schedule else None
    return ScheduleSummary(
        schedule_id=found.id,
        workflow_id=attributes.get(DEFINITION_ID),
        version=attributes.get(DEFINITION_VERSION),
        tags=tags_of(attributes),
        paused=state.paused if state else False,
        note=(state.note if state else None) or "",
        next_runs=[text_of(moment) or "" for moment in info.next_action_times] if info else [],
        recent_runs=_runs(info.recent_actions) if info else [],
    )


def _refused(error: RPCError, schedule_id: str) -> Exception:
    if error.status == RPCStatusCode.NOT_FOUND:
        return ScheduleNotFound(
            f"there is no schedule '{schedule_id}'", hint="GET /api/v1/schedules/ lists the schedules"
        )
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        message = f"Temporal refused the schedule: {error.message}"
        return RequestError(message, issues=[Issue("invalid-value", message)])
    return TemporalUnavailable(f"Temporal refused the schedule: {error.message}", retry_after_seconds=10)
