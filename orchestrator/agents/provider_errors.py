"""The one place that says what a failed model call means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from orchestrator.agents.prompts import sane
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import (
    AttemptTimeout,
    ModelBadResponse,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
)
from orchestrator.secrets import Redaction

LONGEST_RETRY_AFTER_SECONDS = 3600.0
LONGEST_CAUSE = 300
_REFUSED = re.compile(r"^(4(?!08|09)\d\d|context_length_exceeded|exceed_context_size_error|invalid_request_error)$")


class ResponseTooLarge(Exception):
    """The server sent more than `http_max_response_bytes`."""


def classify(error: Exception, *, label: str, key_name: str, secret: str | None) -> OrchestratorError:
    """Return the leaf for an error of the OpenAI client.

    Args:
        error: what the client raised; what it does not wrap comes as it is.
        label: the provider and model, for the message.
        key_name: the setting that holds the provider's key.
        secret: the key, struck out of whatever the server said.
    """
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error, label=label, key_name=key_name, secret=secret)
    root = _root(error)
    if isinstance(root, ResponseTooLarge):
        return ModelBadResponse(f"{label}: {root}", retryable=False)
    if isinstance(root, (httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return ModelUnavailable(f"{label}: no connection in time", hint=_base_url_hint(key_name))
    if isinstance(root, httpx2.TimeoutException):
        return timed_out(label)
    if isinstance(root, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return ModelRejected(f"{label}: {_cause(root, secret)}", hint=_base_url_hint(key_name))
    if isinstance(root, httpx2.DecodingError):
        return ModelBadResponse(f"{label}: the body cannot be decoded: {_cause(root, secret)}")
    if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError)):
        return ModelUnavailable(
            f"{label}: the connection failed: {_cause(root, secret)}", hint=_base_url_hint(key_name)
        )
    return ModelBadResponse(f"{label}: {_cause(root, secret)}")


def timed_out(label: str) -> AttemptTimeout:
    """Return the error of a call that took longer than its attempt may."""
    return AttemptTimeout(
        f"{label}: no answer in the attempt's time",
        hint="raise the step's timeouts.start_to_close_seconds, or lower the agent's max_output_tokens",
        details={"kind": "start_to_close"},
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After` (RFC 9110, seconds or a date), capped at one hour; None without one."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    if math.isnan(seconds):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)


def raise_declared(document: Any, *, label: str, secret: str | None = None) -> None:
    """Raise what a body or an event with the status 200 declares as its error; return where it declares none.

    Raises:
        ModelRateLimited: its code is 429 or speaks of a rate limit.
        ModelRejected: its code is another 4xx: the same request would be refused again.
        ModelUnavailable: any other error: the provider began and could not go on.
    """
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return
    named = {str(error.get(key)).lower() for key in ("code", "type")} if isinstance(error, dict) else set()
    message = f"{label} answered with an error: {_server_words(document, secret)}"
    if any(name == "429" or "rate_limit" in name for name in named):
        raise ModelRateLimited(message)
    if any(_REFUSED.match(name) for name in named):
        raise ModelRejected(message)
    raise ModelUnavailable(message)


def _seconds_until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


def _status_failure(
    error: openai.APIStatusError, *, label: str, key_name: str, secret: str | None
) -> OrchestratorError:
    status = error.status_code
    message = f"{label} answered {status}: {_server_words(error.body, secret)}"
    details = {"status": status}
    wait = retry_after_seconds(error.response.headers)
    if status == 429 and error.code == "insufficient_quota":
        hint = "waiting does not help: the provider's account has no credit left"
        return ModelRejected(message, hint=hint, details=details)
    if status == 429:
        return ModelRateLimited(message, retry_after_seconds=wait, details=details)
    if status >= 500 or status in (408, 409):
        return ModelUnavailable(message, retry_after_seconds=wait, details=details)
    if status in (401, 403):
        hint = f"set {key_name} to a key that may use this model"
        return ModelRejected(f"{message} (the key comes from {key_name})", hint=hint, details=details)
    if status == 404:
        hint = "check the model's name (the step's or the record's model, else DEFAULT_MODEL) and the base URL"
        return ModelRejected(message, hint=hint, details=details)
    return ModelRejected(message, details=details)


def _server_words(body: Any, secret: str | None) -> str:
    if isinstance(body, dict):
        inner = body.get("error", body)
        words = inner.get("message") if isinstance(inner, dict) else inner
        return _clean(str(words), secret) if words else "no reason given"
    return _clean(str(body), secret) if body else "no reason given"


def _cause(root: BaseException, secret: str | None) -> str:
    return _clean(str(root) or type(root).__name__, secret)


def _clean(text: str, secret: str | None) -> str:
    line = " ".join(sane(text).split())
    if secret:
        redaction = Redaction()
        redaction.add(secret)
        line = redaction.text(line)
    return line if len(line) <= LONGEST_CAUSE else line[: LONGEST_CAUSE - 1] + "…"


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, httpx2.HTTPError):
        error = error.__cause__
    return error


def _base_url_hint(key_name: str) -> str:
    return f"check that the model server runs and that {key_name.replace('API_KEY', 'BASE_URL')} is right"
