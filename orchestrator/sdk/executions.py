"""Executions: starting, reading, steering them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator.sdk.calls import NOTHING, Call, fields, get, keyed, path, post
from orchestrator.sdk.documents import (
    ExecutionDocument,
    ExecutionGraph,
    ExecutionPage,
    ExecutionSummary,
    LedgerView,
    StepDocument,
    StepPage,
)
from orchestrator.sdk.errors import WaitEnded
from orchestrator.sdk.flows import Flow, Sleep, exchange
from orchestrator.sdk.methods import Method, Operation, items_of
from orchestrator.secrets.webhooks import signature

CLOSED_STATUSES = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out"})
DEFAULT_WAIT_SECONDS = 60.0
"""The API's own, when `wait_seconds` is not given."""
_POLL_SECONDS = (0.1, 2.0)


def _waiting(async_execution: bool, wait_seconds: float | None) -> float:
    return 0.0 if async_execution else DEFAULT_WAIT_SECONDS if wait_seconds is None else wait_seconds


def _action(execution_id: str, action: str, reason: str | None) -> Call[Any]:
    return post(path("executions", execution_id, action), fields(reason=reason))


class ExecutionOperations:
    """Durable runs of a workflow."""

    @Operation
    def execute_workflow(
        self,
        workflow_id: str,
        input_data: Any,
        *,
        async_execution: bool = True,
        wait_seconds: float | None = None,
        version: int | None = None,
        tags: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        callback: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Start an execution; gives its document, closed or not.

        Args:
            workflow_id: of the stored definition.
            input_data: any JSON value.
            async_execution: answer at once; else when it is closed or `wait_seconds` are over.
            wait_seconds: how long a synchronous answer may take, 60 by default, 300 at most.
            version: of the definition; the latest by default.
            tags: searchable, over the definition's.
            options: `priority`, `execution_seconds`.
            callback: `{"url": …, "secret": …}`: who is told of the end.
            idempotency_key: a second start with the same key is the first; one of its own by default, so that a start
                whose answer was lost is not made twice.
        """
        body = fields(
            async_execution=async_execution,
            wait_seconds=wait_seconds,
            version=version,
            tags=tags,
            options=options,
            callback=callback,
        )
        return keyed(
            path("workflows", workflow_id, "execute"),
            {"input_data": input_data, **body},
            idempotency_key,
            wait_seconds=_waiting(async_execution, wait_seconds),
        )

    @Method
    def execute_and_wait(
        self: Any,
        workflow_id: str,
        input_data: Any,
        *,
        timeout_seconds: float | None = None,
        version: int | None = None,
        tags: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        callback: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[ExecutionDocument]:
        """Start an execution and wait for its end, however it ends; look at `status`.

        Args:
            workflow_id: of the stored definition.
            input_data: any JSON value.
            timeout_seconds: how long to wait; for ever by default.
            version: of the definition; the latest by default.
            tags: searchable, over the definition's.
            options: `priority`, `execution_seconds`.
            callback: `{"url": …, "secret": …}`: who is told of the end.
            idempotency_key: a second start with the same key is the first.

        Raises:
            WaitEnded: it is still open after `timeout_seconds`; it goes on.
        """
        deadline = time.monotonic() + timeout_seconds if timeout_seconds is not None else float("inf")
        call = ExecutionOperations.execute_workflow.call(
            self,
            workflow_id,
            input_data,
            async_execution=False,
            wait_seconds=min(timeout_seconds or DEFAULT_WAIT_SECONDS, DEFAULT_WAIT_SECONDS),
            version=version,
            tags=tags,
            options=options,
            callback=callback,
            idempotency_key=idempotency_key,
        )
        document = yield from exchange(call, self.retries)
        return (yield from _until_closed(self, document, deadline))

    @Method
    def wait_for_execution(
        self: Any, execution_id: str, *, timeout_seconds: float | None = None
    ) -> Flow[ExecutionDocument]:
        """Wait for an execution's end; gives its document.

        Raises:
            WaitEnded: it is still open after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds if timeout_seconds is not None else float("inf")
        document = yield from exchange(ExecutionOperations.get_execution.call(self, execution_id), self.retries)
        return (yield from _until_closed(self, document, deadline))

    @Operation
    def receive_webhook(
        self, workflow_id: str, payload: Any, *, secret: str, message_id: str | None = None
    ) -> Call[ExecutionDocument]:
        """Start an execution as another service would, by a message that is signed by Standard Webhooks.

        Args:
            workflow_id: of a definition with a `webhook`.
            payload: any JSON value.
            secret: what the definition's `webhook` names, `whsec_…`.
            message_id: the same message starts one execution; one of its own by default.
        """
        body = json.dumps(payload, separators=(",", ":")).encode()
        name, now = message_id or f"msg_{uuid.uuid4().hex}", int(time.time())
        headers = {"webhook-id": name, "webhook-timestamp": str(now)}
        signed = {**headers, "webhook-signature": signature(secret, name, now, body)}
        return Call("POST", path("hooks", workflow_id), body=body, headers=signed, repeatable=True)

    @Operation
    def list_executions(
        self,
        *,
        workflow_id: str | None = None,
        status: str | None = None,
        detail: str | None = None,
        schedule_id: str | None = None,
        tag: str | None = None,
        error_type: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        closed_after: datetime | str | None = None,
        closed_before: datetime | str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Call[ExecutionPage]:
        """A page of executions, newest first; `status='awaiting', detail='operator'` are the parked ones."""
        return get(
            "/executions/",
            workflow_id=workflow_id,
            status=status,
            detail=detail,
            schedule_id=schedule_id,
            tag=tag,
            error_type=error_type,
            started_after=started_after,
            started_before=started_before,
            closed_after=closed_after,
            closed_before=closed_before,
            limit=limit,
            cursor=cursor,
        )

    iter_executions = items_of(list_executions, ExecutionSummary)

    @Operation
    def get_execution(self, execution_id: str) -> Call[ExecutionDocument]:
        """The execution's document: status, result or error, steps, links."""
        return get(path("executions", execution_id))

    @Operation
    def list_steps(self, execution_id: str, *, limit: int | None = None, cursor: str | None = None) -> Call[StepPage]:
        """A page of the steps of all scopes, in the order of their paths."""
        return get(path("executions", execution_id, "steps"), limit=limit, cursor=cursor)

    iter_steps = items_of(list_steps, StepDocument)

    @Operation
    def get_step(self, execution_id: str, step_path: str) -> Call[StepDocument]:
        """One step of any scope with its output and error."""
        return get(path("executions", execution_id, "steps", step_path))

    @Operation
    def get_execution_graph(self, execution_id: str) -> Call[ExecutionGraph]:
        """The graph of the definition that the execution is pinned to, with the live state of every step."""
        return get(path("executions", execution_id, "graph"))

    @Operation
    def get_execution_mermaid(self, execution_id: str) -> Call[str]:
        """The same graph as a Mermaid diagram."""
        return get(path("executions", execution_id, "graph"), form="text", format="mermaid")

    @Operation
    def get_execution_ledger(self, execution_id: str) -> Call[LedgerView]:
        """Tokens and cost: in total, by step, by model, of each call."""
        return get(path("executions", execution_id, "ledger"))

    @Operation
    def pause_execution(self, execution_id: str, reason: str | None = None) -> Call[ExecutionDocument]:
        """Let no further step start; steps that run go on."""
        return _action(execution_id, "pause", reason)

    @Operation
    def resume_execution(self, execution_id: str, reason: str | None = None) -> Call[ExecutionDocument]:
        """Undo a pause."""
        return _action(execution_id, "resume", reason)

    @Operation
    def cancel_execution(self, execution_id: str, reason: str | None = None) -> Call[ExecutionDocument]:
        """Ask the execution to end gracefully."""
        return _action(execution_id, "cancel", reason)

    @Operation
    def terminate_execution(self, execution_id: str, reason: str | None = None) -> Call[ExecutionDocument]:
        """End the execution at once: nothing is undone."""
        return _action(execution_id, "terminate", reason)

    @Operation
    def retry_execution(self, execution_id: str, reason: str | None = None) -> Call[ExecutionDocument]:
        """Go on from what failed, as the next attempt of the same execution."""
        return _action(execution_id, "retry", reason)

    @Operation
    def rerun_execution(
        self,
        execution_id: str,
        from_step: str,
        *,
        input_data: Any = NOTHING,
        outputs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Run a step and all that depends on it again, as a new execution; gives its document.

        Args:
            execution_id: of the closed execution.
            from_step: path of a step that ran.
            input_data: another input; the same by default.
            outputs: other outputs of root steps that are kept.
            reason: kept with the execution.
        """
        edited = {} if input_data is NOTHING else {"input": input_data}
        body = {**fields(from_step=from_step, outputs=outputs, reason=reason), **edited}
        return post(path("executions", execution_id, "rerun"), body)

    @Operation
    def signal_execution(self, execution_id: str, name: str, payload: Any = None) -> Call[ExecutionDocument]:
        """Leave a message for the `wait_for_signal` step of this name."""
        return post(path("executions", execution_id, "signals", name), payload)

    @Operation
    def decide_approval(
        self,
        execution_id: str,
        step_path: str,
        decision: str,
        *,
        by: str | None = None,
        form: Any = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Decide an open approval: `approved` or `rejected`."""
        body = fields(decision=decision, by=by, form=form, reason=reason)
        return keyed(path("executions", execution_id, "approvals", step_path), body, idempotency_key)

    @Operation
    def retry_step(
        self, execution_id: str, step_path: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Call[ExecutionDocument]:
        """Run a parked step again."""
        where = path("executions", execution_id, "steps", step_path, "retry")
        return keyed(where, fields(reason=reason), idempotency_key)

    @Operation
    def skip_step(
        self, execution_id: str, step_path: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Call[ExecutionDocument]:
        """Give a parked step up; the steps that need it are skipped, too."""
        where = path("executions", execution_id, "steps", step_path, "skip")
        return keyed(where, fields(reason=reason), idempotency_key)

    @Operation
    def set_step_output(
        self,
        execution_id: str,
        step_path: str,
        output: Any,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Complete a parked step with an output of one's own."""
        where = path("executions", execution_id, "steps", step_path, "output")
        return keyed(where, {"output": output, **fields(reason=reason)}, idempotency_key)

    @Operation
    def raise_budget(
        self,
        execution_id: str,
        *,
        tokens: int | None = None,
        cost_usd: float | None = None,
        model_calls: int | None = None,
        tool_calls: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Raise the bounds that an execution's budget has, by these amounts."""
        more = fields(tokens=tokens, cost_usd=cost_usd, model_calls=model_calls, tool_calls=tool_calls, reason=reason)
        return keyed(path("executions", execution_id, "budget"), more, idempotency_key)


def _until_closed(client: Any, document: ExecutionDocument, deadline: float) -> Flow[ExecutionDocument]:
    pause, longest = _POLL_SECONDS
    while document["status"] not in CLOSED_STATUSES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitEnded(document)
        yield Sleep(min(pause, left))
        pause = min(2 * pause, longest)
        call = ExecutionOperations.get_execution.call(client, document["execution_id"])
        document = yield from exchange(call, client.retries)
    return document
