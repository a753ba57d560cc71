"""The activity that tells a URL of an execution's end, signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from orchestrator.client import failed_view
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import HttpBlocked, MissingSecret
from orchestrator.execution.messages import ErrorInfo, ExecutionView
from orchestrator.execution.messages_callbacks import CallbackOutcome, DeliverCallback
from orchestrator.guarded_http import GuardedHttp
from orchestrator.secrets import Secrets
from orchestrator.secrets.webhooks import signature
from orchestrator.settings import Settings
from orchestrator.workflows.search_attributes import DEFINITION_ID, DEFINITION_VERSION

SEND_SECONDS = 30.0
LARGEST_BYTES = 256 * 1024
"""A larger message goes without the execution's output; the receiver reads it over REST."""
_STATUS = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}


class CallbackActivities:
    """Deliveries of callbacks.

    Args:
        client: connected to the executions' namespace.
        http: the guarded client: URLs are the callers' own.
        secrets: where named signing secrets come from.
        settings: for the signing secret of starts that name none, and for links.
    """

    def __init__(self, client: Client, http: GuardedHttp, secrets: Secrets, settings: Settings) -> None:
        self._client = client
        self._http = http
        self._secrets = secrets
        self._settings = settings

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.deliver_callback]

    @activity.defn(name="deliver_callback")
    async def deliver_callback(self, request: DeliverCallback) -> CallbackOutcome:
        """Post a closed run's end; the same `webhook-id` goes with every attempt.

        Raises:
            ApplicationError: the receiver did not answer with 2xx; tried again unless the guard refuses the URL.
        """
        handle = self._client.get_workflow_handle(
            request.execution_id, run_id=request.run_id, result_type=ExecutionView
        )
        found = await handle.describe()
        if found.status == WorkflowExecutionStatus.RUNNING:
            return CallbackOutcome(outcome="open")
        if found.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
            return CallbackOutcome(outcome="continued")
        view: ExecutionView | None = None
        error: ErrorInfo | None = None
        try:
            view = await handle.result(follow_runs=False)
        except WorkflowFailureError as failure:
            if isinstance(failure.cause, ApplicationError):
                view = failed_view(failure.cause)
            elif failure.cause is not None:
                error = ErrorInfo(
                    type=_STATUS[found.status or WorkflowExecutionStatus.FAILED], message=str(failure.cause)
                )
        try:
            return await self._send(request, message_of(found, view, error, self._settings))
        except OrchestratorError as error_of_ours:
            raise ApplicationError(
                error_of_ours.message,
                type=error_of_ours.code,
                non_retryable=isinstance(error_of_ours, HttpBlocked),
            ) from error_of_ours

    async def _send(self, request: DeliverCallback, message: dict[str, Any]) -> CallbackOutcome:
        body = orjson.dumps(message)
        if len(body) > LARGEST_BYTES:
            message["data"].update(output=None, output_omitted=True)
            body = orjson.dumps(message)
        message_id = "msg_" + hashlib.sha256(f"{request.execution_id}/{request.run_id}".encode()).hexdigest()[:26]
        timestamp = int(datetime.now(UTC).timestamp())
        signed = signature(await self._secret(request.target.secret), message_id, timestamp, body)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signed,
        }
        answer = await self._http.send(
            "POST",
            request.target.url,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            content=body,
            timeout_seconds=SEND_SECONDS,
        )
        if not answer.wanted:
            # By Standard Webhooks 410 means that the receiver wants no more of them.
            raise ApplicationError(
                f"{answer.host!r} answered the callback with {answer.status}",
                type=f"http-{answer.status}",
                non_retryable=answer.status == 410,
            )
        return CallbackOutcome(outcome="delivered", status=answer.status)

    async def _secret(self, name: str | None) -> str:
        if name is not None:
            return (await self._secrets.values([name], "~callback"))[name]
        if self._settings.callback_signing_secret is None:
            raise MissingSecret("callbacks cannot be signed", hint="set CALLBACK_SIGNING_SECRET for API and workers")
        return self._settings.callback_signing_secret.get_secret_value()


def message_of(
    found: WorkflowExecutionDescription, view: ExecutionView | None, error: ErrorInfo | None, settings: Settings
) -> dict[str, Any]:
    """Return what a receiver is told of a closed run."""
    status = _STATUS[found.status or WorkflowExecutionStatus.FAILED]
    error = view.error if view is not None else error
    if status == "failed" and error is not None and error.type == "execution-timeout":
        status = "timed_out"
    attributes = found.typed_search_attributes
    base = (settings.api_public_url or "").rstrip("/")
    return {
        "type": f"execution.{status}",
        "timestamp": _iso(found.close_time),
        "data": {
            "execution_id": found.id,
            "run_id": found.run_id,
            "workflow_id": attributes.get(DEFINITION_ID),
            "workflow_version": attributes.get(DEFINITION_VERSION),
            "status": status,
            "started_at": _iso(found.start_time),
            "closed_at": _iso(found.close_time),
            "output": view.output if view is not None else None,
            "error": error.model_dump(mode="json") if error is not None else None,
            "links": {"self": f"{base}/api/v1/executions/{found.id}"},
        },
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment is not None else None
