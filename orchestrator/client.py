"""Connects to Temporal and starts executions there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from temporalio.client import (
    Client,
    TLSConfig,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.execution.concurrency import AcquireSlot, GateStart, SlotAnswer, gate_id
from orchestrator.execution.errors import TemporalUnavailable
from orchestrator.execution.messages import WORKFLOW_TYPE, ErrorInfo, ExecutionView, StartExecution
from orchestrator.execution.messages_callbacks import CALLBACK_MEMO
from orchestrator.settings import Settings
from orchestrator.stores.claims import claim_driver, keep_ahead, with_claims
from orchestrator.telemetry import temporal_plugins
from orchestrator.workflows.concurrency_gate import GATE_TYPE
from orchestrator.workflows.foreign_values import ReadableFailures
from orchestrator.workflows.payload_conversion import SharedPayloadConverter
from orchestrator.workflows.performing import summary_text
from orchestrator.workflows.search_attributes import at_start

DATA_CONVERTER = DataConverter(payload_converter_class=SharedPayloadConverter, failure_converter_class=ReadableFailures)
ASKED_AT_ONCE = 4
"""Updates that one process has on its way to one gate."""
NATIVE_THREADS_SECONDS = 0.05
_NEXT_ATTEMPT = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """Return a client of the configured namespace.

    Args:
        settings: address, namespace, TLS and API key.
        lazy: connect at the first call instead of now.

    Raises:
        TemporalUnavailable: the server does not answer (never when lazy).
    """
    try:
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
            tls=_tls(settings),
            data_converter=with_claims(DATA_CONVERTER, settings),
            plugins=temporal_plugins(settings),
            lazy=lazy,
        )
    except (RuntimeError, RPCError) as error:
        raise TemporalUnavailable(
            f"Temporal at {settings.temporal_address} does not answer: {error}",
            hint="start it with `make up`, or set TEMPORAL_ADDRESS",
        ) from error


async def disconnect(client: Client) -> None:
    """Give back what the client's claim store holds open; Temporal's own connection ends with the client.

    It takes a moment: a native thread that has just delivered an answer still needs the interpreter, and a process
    that ends before it is done is aborted (measured on a busy machine: 9 of 20 short scripts without the pause,
    0 of 20 with it).
    """
    driver = claim_driver(client.data_converter)
    if driver is not None:
        await driver.claims.aclose()
    await asyncio.sleep(NATIVE_THREADS_SECONDS)


def _tls(settings: Settings) -> TLSConfig | bool:
    files = (settings.temporal_tls_server_ca, settings.temporal_tls_client_cert, settings.temporal_tls_client_key)
    if not any(files):
        return settings.temporal_tls or settings.temporal_api_key is not None
    ca, cert, key = (path.read_bytes() if path else None for path in files)
    return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)


def new_execution_id() -> str:
    """Return a fresh execution id: `ex-` and 26 characters that carry 130 random bits."""
    return "ex-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(26))


def keyed_execution_id(caller: str, workflow_id: str, idempotency_key: str) -> str:
    """Return the id of the execution that a start with an idempotency key makes, however often it is sent."""
    digest = hashlib.sha256(json.dumps([caller, workflow_id, idempotency_key]).encode()).digest()
    return "ex-" + base64.b32encode(digest).decode().lower()[:26]


def what_starts(start: StartExecution) -> str:
    """Return how errors about its size name a start."""
    return f"the start of workflow '{start.workflow_id}' (definition and input)"


async def start_execution(
    client: Client,
    settings: Settings,
    start: StartExecution,
    *,
    execution_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    carried: Sequence[str] = (),
    again: bool = False,
    memo: Mapping[str, Any] | None = None,
    priority: int | None = None,
    rpc_timeout: timedelta | None = None,
) -> WorkflowHandle[object, ExecutionView]:
    """Start one execution; its id is Temporal's workflow id.

    Args:
        client: from `connect`.
        settings: for the task queue.
        start: the pinned definition and the input, or a reference to a stored definition.
        execution_id: chosen by the caller, so that a start whose answer was lost can be looked up; a new one if None.
        tags: further tags, over the definition's own.
        carried: the position to go on from, in chunks.
        again: the next attempt of an execution that ended otherwise than completed.
        memo: kept beside the execution.
        priority: 1 (first) to 5, of its workflow tasks and activities.
        rpc_timeout: how long one call to Temporal may take.

    Raises:
        temporalio.service.RPCError: Temporal refused the start or does not answer.
        temporalio.exceptions.WorkflowAlreadyStartedError: the id is taken.
        PayloadTooLarge: definition and input are together over the limit.
        Unavailable: they are large, and the claim store did not take them.
    """
    await keep_ahead(client.data_converter, start, what_starts(start))
    definition = start.definition or {}
    all_tags = {**definition.get("tags", {}), **(tags or {})}
    if start.callback is not None:
        memo = {**(memo or {}), CALLBACK_MEMO: start.callback}
    return await client.start_workflow(
        WORKFLOW_TYPE,
        args=[start, *carried],
        id=execution_id or new_execution_id(),
        task_queue=settings.temporal_task_queue,
        result_type=ExecutionView,
        id_reuse_policy=_NEXT_ATTEMPT if again else WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        search_attributes=at_start(start.workflow_id, start.version, all_tags, start.lineage.rerun_of),
        memo=memo,
        priority=Priority(priority_key=priority) if priority else Priority.default,
        static_summary=definition.get("name") or start.workflow_id,
        rpc_timeout=rpc_timeout,
    )


def deleted_note(workflow_id: str) -> str:
    """Return what a schedule says that is paused because its definition is gone."""
    return f"workflow '{workflow_id}' was deleted"


async def pause_schedule(client: Client, schedule_id: str, note: str) -> None:
    """Pause a schedule; one that is gone meanwhile is no failure.

    Raises:
        temporalio.service.RPCError: Temporal does not answer.
    """
    try:
        await client.get_schedule_handle(schedule_id).pause(note=note)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


class ConcurrencyGates:
    """Asks the gates of concurrency keys for places.

    Temporal refuses the eleventh unanswered update of a workflow, and the SDK then waits up to seconds: so one process
    sends a gate only a few at a time, and the others wait here for milliseconds.

    Args:
        client: from `connect`.
        check_seconds: how often a gate looks for holders that have closed.
    """

    def __init__(self, client: Client, check_seconds: float) -> None:
        self._client = client
        self._check_seconds = check_seconds
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def acquire(
        self, request: AcquireSlot, *, task_queue: str, rpc_timeout: timedelta | None = None
    ) -> SlotAnswer:
        """Ask for a place; starts the key's gate where none runs.

        Args:
            request: who asks; asking again is harmless.
            task_queue: where the gate runs: a worker of executions serves it.
            rpc_timeout: how long one call to Temporal may take.

        Raises:
            temporalio.service.RPCError: Temporal refused, or no worker runs the gate.
            temporalio.client.WorkflowUpdateRPCTimeoutOrCancelledError: the same, within the call's time.
        """
        gate = gate_id(request.workflow_id, request.key)
        turns = self._turns.setdefault(gate, asyncio.Semaphore(ASKED_AT_ONCE))
        async with turns:
            return await self._ask(gate, request, task_queue, rpc_timeout)

    async def _ask(self, gate: str, request: AcquireSlot, task_queue: str, rpc_timeout: timedelta | None) -> SlotAnswer:
        start = GateStart(workflow_id=request.workflow_id, key=request.key, check_seconds=self._check_seconds)
        what = f"places of workflow {request.workflow_id}" + (f", key {request.key}" if request.key else "")
        answer: SlotAnswer = await self._client.execute_update_with_start_workflow(
            "acquire",
            request,
            start_workflow_operation=WithStartWorkflowOperation(
                GATE_TYPE,
                start,
                id=gate,
                task_queue=task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=summary_text(what),
            ),
            result_type=SlotAnswer,
            rpc_timeout=rpc_timeout,
        )
        return answer

    async def release(self, slot: str, execution_id: str) -> None:
        """Give a place back that no execution will use.

        Raises:
            temporalio.service.RPCError: Temporal does not answer, or the gate is gone.
        """
        await self._client.get_workflow_handle(slot).signal("release", execution_id)


def failed_view(error: ApplicationError) -> ExecutionView:
    """Return the envelope that a failed execution left in its failure's details; made from the failure without one."""
    for entry in error.details:
        if isinstance(entry, dict) and "steps" in entry:
            return ExecutionView.model_validate(entry)
    return ExecutionView(
        workflow_id="", status="failed", error=ErrorInfo(type=error.type or "internal-error", message=error.message)
    )


async def closed_view(handle: WorkflowHandle[object, ExecutionView], error: WorkflowFailureError) -> ExecutionView:
    """Return the envelope of an execution that did not complete.

    Args:
        handle: the execution.
        error: what awaiting its result raised.
    """
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return failed_view(cause)
    status = "timed_out"
    if isinstance(cause, CancelledError):
        status = "cancelled"
    elif isinstance(cause, TerminatedError):
        status = "terminated"
    view: ExecutionView = await handle.query("state", result_type=ExecutionView)
    return view.model_copy(update={"status": status})
