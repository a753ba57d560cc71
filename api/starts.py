"""Starts executions: once acknowledged, an execution exists; an unknown outcome is named with its id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import orjson
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.concurrency import find_place
from api.dependencies import Services
from api.execution_history import initial_view
from api.execution_links import links_of
from api.executions import Outcome
from api.idempotent_starts import AlreadyThere, Keyed
from api.pinned import Pinned, UnstoredDefinition
from api.schemas.executions import CallbackRequest, ExecuteRequest, ExecutionDocument, StepRow
from api.temporal_calls import PATIENCE_SECONDS, is_connect_failure
from api.workflow_pauses import WORKFLOW, follow_pause, holds_of
from orchestrator.client import new_execution_id, start_execution, what_starts
from orchestrator.definition.issues import Issue
from orchestrator.definition.limits import TAGS_BYTES
from orchestrator.definition.schemas import value_issues
from orchestrator.definition.tags import tag_key_issues
from orchestrator.execution.errors import (
    InvalidInput,
    PayloadTooLarge,
    RequestError,
    TemporalUnavailable,
    WorkflowDeleted,
)
from orchestrator.execution.messages import ExecutionView, StartExecution
from orchestrator.execution.messages_callbacks import CallbackTarget
from orchestrator.execution.state import ExecutionState
from orchestrator.guarded_http import check_url
from orchestrator.settings import Settings
from orchestrator.stores.claims import keep_ahead
from orchestrator.stores.definitions import StoredDefinition
from orchestrator.workflows.carrying import dump

START_SECONDS = 1.2
LOOKUP_SECONDS = 0.5
"""Start and lookup together stay below the two seconds in which the API answers 503."""


async def pin_definition(services: Services, workflow_id: str, version: int | None) -> StoredDefinition:
    """Return the definition that a start is pinned to.

    Raises:
        WorkflowNotFound: no such workflow or version.
        WorkflowDeleted: it starts no more executions.
    """
    stored = await services.definitions.get(workflow_id, version)
    if stored.deleted:
        raise WorkflowDeleted(
            f"workflow '{workflow_id}' was deleted and starts no more executions",
            hint=f"store it again with PUT /api/v1/workflows/{workflow_id}",
        )
    return stored


def check_input(definition: dict[str, Any], value: Any, pointer: str = "/input_data") -> None:
    """Check a start's input early; the workflow would fail on it anyway.

    Raises:
        InvalidInput: with pointers into the body.
    """
    schema = definition.get("input_schema")
    if schema is None:
        return
    issues = value_issues(schema, value, pointer)
    if issues:
        first = issues[0]
        raise InvalidInput(
            f"the input does not satisfy the workflow's input_schema: {first.message} (at {first.pointer})",
            hint="GET the workflow to see its input_schema",
            issues=issues,
        )


def check_tags(definition: dict[str, Any], tags: dict[str, str]) -> None:
    """Refuse tags that nobody could filter by, and those that Temporal would refuse: all are one search attribute.

    Raises:
        RequestError: a key has a `=`, or definition's and start's tags are together too large.
    """
    issues = tag_key_issues(tags)
    if issues:
        raise RequestError(issues[0].message, hint=issues[0].hint, issues=issues)
    together = [f"{key}={value}" for key, value in {**definition.get("tags", {}), **tags}.items()]
    size = len(orjson.dumps(together))
    if size > TAGS_BYTES:
        message = f"the definition's and the start's tags are together {size} bytes; {TAGS_BYTES} are allowed"
        raise RequestError(message, issues=[Issue("tags-too-large", message, "/tags", "send fewer or shorter tags")])


def callback_of(settings: Settings, callback: CallbackRequest | None) -> CallbackTarget | None:
    """Return who is told of an execution's end.

    Raises:
        RequestError: a URL that the HTTP guard will refuse whatever its name resolves to, or nothing to sign with.
    """
    if callback is None:
        return None
    if (refused := check_url(callback.url, settings.http_allow_hosts)) is not None:
        _refuse_callback(f"the callback's url cannot be called: {refused}", "/callback/url")
    if callback.secret is None and settings.callback_signing_secret is None:
        _refuse_callback(
            "nothing can sign the callback", "/callback", "set CALLBACK_SIGNING_SECRET, or name a `secret`"
        )
    return CallbackTarget(url=callback.url, secret=callback.secret)


def _refuse_callback(message: str, pointer: str, hint: str | None = None) -> NoReturn:
    raise RequestError(message, hint=hint, issues=[Issue("invalid-value", message, pointer, hint)])


def check_options(definition: dict[str, Any], seconds: float | None) -> None:
    """Refuse a time that the definition does not grant.

    Raises:
        RequestError: it is longer than the definition's own.
    """
    most = (definition.get("timeouts") or {}).get("execution_seconds")
    if seconds is not None and most is not None and seconds > most:
        message = f"options.execution_seconds is {seconds:g}; the definition lets an execution take {most:g}"
        hint = "ask for less, or store the workflow with a longer timeouts.execution_seconds"
        raise RequestError(message, hint=hint, issues=[Issue("too-long", message, "/options/execution_seconds", hint)])


@dataclass(frozen=True, slots=True)
class Launch:
    """How an execution is started.

    Attributes:
        execution_id: its id.
        tags: over the definition's.
        priority: 1 to 5; None: the server's own.
        memo: kept beside it.
        fresh: nobody else can have chosen the id: whatever has it is this very start.
        position: where it goes on from.
        previous_run: the run of the attempt before, for the next attempt of an execution.
    """

    execution_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    memo: Mapping[str, Any] | None = None
    fresh: bool = False
    position: ExecutionState | None = None
    previous_run: str | None = None


async def start(
    services: Services, stored: Pinned, request: ExecuteRequest, keyed: Keyed | None = None
) -> ExecutionDocument:
    """Start an execution pinned to a definition and return its first document.

    Args:
        services: the app's services.
        stored: the definition.
        request: the start's body.
        keyed: the id and the fingerprint that an idempotency key gives it.

    Raises:
        AlreadyThere: an execution has the key's id.
        RequestError: the tags are too large, or the time is longer than the definition's.
        OrchestratorError: as `launch`.
    """
    check_tags(stored.definition, request.tags)
    check_options(stored.definition, request.options.execution_seconds)
    message = StartExecution(
        workflow_id=stored.workflow_id,
        definition=stored.definition,
        version=stored.version,
        sha256=stored.sha256,
        input=request.input_data,
        holds=holds_of(stored.paused) if isinstance(stored, StoredDefinition) else {},
        execution_seconds=request.options.execution_seconds,
        callback=callback_of(services.settings, request.callback),
    )
    how = Launch(
        keyed.execution_id if keyed is not None else new_execution_id(),
        tags=request.tags,
        priority=request.options.priority,
        memo=keyed.memo if keyed is not None else None,
        fresh=keyed is None,
    )
    return await launch(services, message, how)


async def launch(services: Services, message: StartExecution, how: Launch) -> ExecutionDocument:
    """Start an execution and return its first document.

    Raises:
        AlreadyThere: an execution has the id.
        TemporalUnavailable: nothing was started; with the code `start-unknown` and the execution id in its details
            where Temporal did not say.
        PayloadTooLarge: definition and input are together over the limit.
        RedisUnavailable: nobody knows whether the workflow is paused, or definition and input are large and the claim
            store does not take them; nothing was started.
        ConcurrencyLimit: every place under the concurrency key is taken, and the definition says `reject`.
        NoWorker: nobody runs the gate that would say so.
        ExpressionError: the concurrency key's expression fails on this input.
    """
    pinned = UnstoredDefinition(message.workflow_id, message.sha256 or "", message.definition or {})
    place = await find_place(pinned, message.input, how.execution_id)
    message.slot = place.slot if place is not None and place.at_once else None
    if how.position is not None or how.previous_run is not None:
        message.holds |= holds_of(await services.definitions.pause(message.workflow_id))
    if how.position is not None:
        how.position.slot = message.slot
        how.position.holds |= message.holds
    # Before the call to Temporal and outside its time limit: the store's fsync may take a second.
    await keep_ahead(services.temporal.data_converter, message, what_starts(message))
    if place is None or not place.at_once:
        run_id = await _start(services, message, how)
    else:
        async with place.held(services):
            run_id = await _start(services, message, how)
    await follow_pause(services, message.workflow_id, how.execution_id, held=WORKFLOW in message.holds)
    queued = place is not None and not place.at_once
    return _first_document(services, message, how.execution_id, run_id, queued=queued)


async def _start(services: Services, message: StartExecution, how: Launch) -> str | None:
    carried = await asyncio.to_thread(dump, how.position) if how.position is not None else []
    for chunk in carried:
        await keep_ahead(services.temporal.data_converter, chunk, "the position that it goes on from")
    try:
        async with services.calls.bounded(START_SECONDS):
            handle = await start_execution(
                services.temporal,
                services.settings,
                message,
                execution_id=how.execution_id,
                tags=how.tags,
                carried=carried,
                again=how.previous_run is not None,
                memo=how.memo,
                priority=how.priority,
                rpc_timeout=timedelta(seconds=PATIENCE_SECONDS),
            )
    except WorkflowAlreadyStartedError as error:
        if how.fresh:
            # An earlier try of this same call got through.
            return error.run_id
        raise AlreadyThere from error
    except TemporalUnavailable as error:
        if is_connect_failure(error.__cause__ or error):
            raise
        return await _look_up(services, how, error)
    except RPCError as error:
        raise _refused(error, message) from error
    return handle.result_run_id


async def _look_up(services: Services, how: Launch, reason: TemporalUnavailable) -> str | None:
    """Return the run of a start that went unanswered, if it is there."""
    found = how.previous_run
    with suppress(TimeoutError, TemporalUnavailable, RPCError):
        async with asyncio.timeout(LOOKUP_SECONDS):
            description = await services.executions.find(how.execution_id)
            found = description.run_id if description is not None else found
    if found != how.previous_run:
        return found
    raise TemporalUnavailable(
        f"{reason.message}; execution '{how.execution_id}' may or may not have started",
        hint=f"GET /api/v1/executions/{how.execution_id} tells once Temporal is back; start again if it is not found",
        retry_after_seconds=2,
        details={"execution_id": how.execution_id},
        code="start-unknown",
    ) from reason


def _refused(error: RPCError, message: StartExecution) -> Exception:
    # Without a claim store Temporal's limits hold: 2 MiB for one payload (INVALID_ARGUMENT), 4 MiB for one call.
    if error.status == RPCStatusCode.INVALID_ARGUMENT and "Blob data size" in error.message:
        return PayloadTooLarge(
            f"definition and input of workflow '{message.workflow_id}' are together larger than Temporal takes",
            hint="keep large values elsewhere and pass a reference to them, or configure CLAIM_STORE",
        )
    if error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" not in error.message.lower():
        return RequestError(f"Temporal refused the start: {error.message}")
    return TemporalUnavailable(
        f"Temporal refused the start: {error.message}",
        hint="check the namespace and that its search attributes are registered",
        retry_after_seconds=10,
    )


def _first_document(
    services: Services, message: StartExecution, execution_id: str, run_id: str | None, *, queued: bool
) -> ExecutionDocument:
    view = initial_view(message, ExecutionView(workflow_id=message.workflow_id, status="running"))
    return ExecutionDocument.model_construct(
        execution_id=execution_id,
        workflow_id=message.workflow_id,
        workflow_version=message.version,
        name=view.workflow_name,
        run_id=run_id,
        status="queued" if queued else "running",
        detail="concurrency" if queued else None,
        input=message.input,
        steps=[StepRow.model_validate(step.model_dump()) for step in view.steps],
        lineage=view.lineage,
        links=links_of(services.settings, execution_id, run_id, message.workflow_id, message.version, closed=False),
    )


async def wait_for_end(
    services: Services, execution_id: str, seconds: float, client_gone: Callable[[], Awaitable[None]]
) -> Outcome | None:
    """Wait for an execution's end; None when the time is over or the client went away. The execution runs on.

    Args:
        services: the app's services.
        execution_id: what to wait for.
        seconds: the longest wait.
        client_gone: returns when the client has disconnected.
    """
    end = asyncio.ensure_future(services.executions.outcome(services.executions.handle(execution_id)))
    gone = asyncio.ensure_future(client_gone())
    try:
        await asyncio.wait({end, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        # Temporal going away during the wait is no failure of the start: the caller gets 202.
        return end.result() if end.done() and end.exception() is None else None
    finally:
        for task in (end, gone):
            task.cancel()
        await asyncio.gather(end, gone, return_exceptions=True)
