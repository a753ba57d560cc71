"""The activity of `api_call` steps: one HTTP request through the guarded client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from activities.http_answer import EXCERPT_BYTES, output_of, status_error, status_matcher
from activities.http_compose import compose
from activities.secret_slots import filled
from activities.step_activity import step_activity
from orchestrator.execution.messages import HttpRequestInput, HttpRequestResult
from orchestrator.guarded_http import GuardedHttp
from orchestrator.secrets import Secrets, attempt_redaction

_THREAD_BYTES: Final = 256 * 1024
"""Parsing more than this would hold up the heartbeats of other activities."""


class HttpActivities:
    """Requests to hosts that definitions name.

    Args:
        client: the guarded one.
        secrets: where the values of a definition's secrets come from.
    """

    def __init__(self, client: GuardedHttp, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    @step_activity("http_request")
    async def http_request(self, request: HttpRequestInput) -> HttpRequestResult:
        """Send the request; the same `Idempotency-Key` goes with every attempt.

        The deadline is the step's start-to-close timeout, which the activity wrapper keeps.

        Raises:
            HttpStatus: the status is not expected.
            HttpBlocked: the guard refuses the URL.
            HttpConnection: no connection, or it broke.
            HttpBadResponse: the answer is unusable.
            InvalidHttpRequest: the inputs do not make a request.
            MissingSecret: a secret that they name is not configured.
        """
        return HttpRequestResult(output=await self.perform(request))

    async def perform(self, request: HttpRequestInput) -> dict[str, Any]:
        """Send the request, for a step or for a tool, and return `{status, headers, body}`.

        Raises:
            StepFailure: as `http_request`.
        """
        composed = compose(await filled(request, self._secrets))
        if any(slot.pointer.startswith("/auth/") for slot in request.secret_slots):
            for text in composed.from_auth:
                attempt_redaction().add(text)
        answer = await self._client.send(
            composed.method,
            composed.url,
            headers=composed.headers,
            content=composed.content,
            timeout_seconds=None,
            wants=status_matcher(request.expect_status),
            excerpt_bytes=EXCERPT_BYTES,
        )
        if not answer.wanted:
            raise status_error(answer, composed, datetime.now(UTC))
        if len(answer.content) < _THREAD_BYTES:
            return output_of(answer, request.response_schema)
        return await asyncio.to_thread(output_of, answer, request.response_schema)

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.http_request]
