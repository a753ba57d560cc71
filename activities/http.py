"""The activity of `api_call` steps: one HTTP request through the guarded client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
from temporalio import activity

from activities.http_answer import EXCERPT_BYTES, output_of, status_error, status_matcher
from activities.http_compose import ComposedRequest, compose
from activities.secret_slots import filled
from activities.step_activity import step_activity
from orchestrator.execution.messages import HttpRequestInput, HttpRequestResult
from orchestrator.guarded_http import Answer, GuardedHttp
from orchestrator.secrets import Secrets, attempt_redaction
from orchestrator.stores.breakers import CircuitBreakers

_THREAD_BYTES: Final = 256 * 1024
"""Parsing more than this would hold up the heartbeats of other activities."""


LONGEST_EXCHANGE_SECONDS: Final = 300.0
"""What a probe of a circuit may take where the attempt has no start-to-close timeout."""


class _ServerFailed(OSError):
    """A 5xx, which counts for the circuit; the step's error, which may quote the answer, is made after that."""


class HttpActivities:
    """Requests to hosts that definitions name.

    Args:
        client: the guarded one.
        secrets: where the values of a definition's secrets come from.
        breakers: a circuit for each host and port; None: none.
    """

    def __init__(self, client: GuardedHttp, secrets: Secrets, breakers: CircuitBreakers | None = None) -> None:
        self._client = client
        self._secrets = secrets
        self._breakers = breakers

    @step_activity("http_request")
    async def http_request(self, request: HttpRequestInput) -> HttpRequestResult:
        """Send the request; the same `Idempotency-Key` goes with every attempt.

        The deadline is just before the step's start-to-close timeout, so that a silent host counts for its circuit.

        Raises:
            AttemptTimeout: the host did not answer in time.
            CircuitOpen: the host failed too often lately; the attempt is parked.
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
        answer = await self._exchange(composed, request)
        if not answer.wanted:
            raise status_error(answer, composed, datetime.now(UTC))
        if len(answer.content) < _THREAD_BYTES:
            return output_of(answer, request.response_schema)
        return await asyncio.to_thread(output_of, answer, request.response_schema)

    async def _exchange(self, composed: ComposedRequest, request: HttpRequestInput) -> Answer:
        seconds = _send_seconds()
        answer: Answer | None = None
        with suppress(_ServerFailed):
            async with self._circuit(composed.url, seconds):
                answer = await self._client.send(
                    composed.method,
                    composed.url,
                    headers=composed.headers,
                    content=composed.content,
                    timeout_seconds=seconds,
                    wants=status_matcher(request.expect_status),
                    excerpt_bytes=EXCERPT_BYTES,
                )
                if not answer.wanted and answer.status >= 500:
                    raise _ServerFailed(f"answered {answer.status}")
        assert answer is not None
        return answer

    def _circuit(self, url: httpx2.URL, seconds: float | None) -> AbstractAsyncContextManager[None]:
        if self._breakers is None:
            return nullcontext()
        lease = LONGEST_EXCHANGE_SECONDS if seconds is None else seconds
        return self._breakers.guard(f"http:{url.netloc.decode('ascii')}", lease_seconds=lease)

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.http_request]


def _send_seconds() -> float | None:
    """Return the seconds that the exchange may take: a little less than the activity wrapper allows."""
    limit = activity.info().start_to_close_timeout
    if not limit:
        return None
    seconds = limit.total_seconds()
    return seconds - min(0.7, seconds * 0.15)
