"""From an HTTP answer to a step's output, or to the error that says what is wrong with it."""

from __future__ import annotations

import codecs
import email.utils
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import Message
from http import HTTPStatus
from typing import Any, Final, NoReturn

import httpx2

from activities.http_compose import ComposedRequest
from activities.whole_texts import whole_text, whole_value
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors_steps import HttpBadResponse, HttpStatus
from orchestrator.guarded_http import Answer
from orchestrator.secrets import Redaction, attempt_redaction

EXCERPT_BYTES: Final = 2048
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0

_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_TOLD_HEADERS: Final = ("content-type", "location", "retry-after", "www-authenticate", "x-request-id")
# Text codecs that are slow, need no charset label in HTTP, or execute escapes.
_REFUSED_CODECS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})


def status_matcher(expected: Sequence[int | str]) -> Callable[[int], bool]:
    """Return whether a status is one of the codes (204, "204") or classes ("2xx")."""
    wanted = [str(entry).lower() for entry in expected] or ["2xx"]
    return lambda status: str(status) in wanted or f"{status // 100}xx" in wanted


def status_error(answer: Answer, request: ComposedRequest, now: datetime) -> HttpStatus:
    """Build the error of an unexpected status.

    Args:
        answer: the answer; its content is the first bytes of the body.
        request: the request, whose credentials a far end may have repeated.
        now: an aware time, for `Retry-After` dates.
    """
    try:
        phrase = f" ({HTTPStatus(answer.status).phrase})"
    except ValueError:
        phrase = ""
    redaction = Redaction()
    for secret in request.secrets:
        redaction.add(secret)
    text = redaction.text(decode_text(answer.content[:EXCERPT_BYTES], answer.headers.get("content-type", "")))
    if len(answer.content) >= EXCERPT_BYTES:
        text = attempt_redaction().cut_text(redaction.cut_text(text))
    told = {name: answer.headers[name] for name in _TOLD_HEADERS if name in answer.headers}
    return HttpStatus(
        f"{request.method} {answer.host!r} answered {answer.status}{phrase}.",
        code=f"http-{answer.status}",
        retryable=answer.status in _RETRYABLE or answer.status >= 500,
        retry_after_seconds=retry_after(answer.headers, now),
        details={
            "status": answer.status,
            "headers": {name: attempt_redaction().text(redaction.text(value))[:500] for name, value in told.items()},
            "body": text.encode("utf-8", "replace")[:EXCERPT_BYTES].decode("utf-8", "ignore"),
        },
    )


def retry_after(headers: httpx2.Headers, now: datetime) -> float | None:
    """Read `Retry-After` (RFC 9110, section 10.2.3), seconds or a date, as seconds of at most an hour."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - now).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)


def output_of(answer: Answer, response_schema: dict[str, Any] | None) -> dict[str, Any]:
    """Build `{status, headers, body}`; header names in lower case, repeated fields joined by ", ".

    Raises:
        HttpBadResponse: the body is not the JSON that its type says, or breaks the schema.
    """
    # Before the schema is checked: what breaks it is quoted, and cut, in the error.
    body = attempt_redaction().value(_body(answer))
    if response_schema is not None:
        _check_schema(answer, response_schema, body)
    headers = {name.lower(): whole_text(value) for name, value in answer.headers.items()}
    return {"status": answer.status, "headers": headers, "body": body}


def _check_schema(answer: Answer, schema: dict[str, Any], body: Any) -> None:
    try:
        issues = value_issues(schema, body)
    except ValueError as error:
        raise HttpBadResponse("response_schema is not a JSON Schema.") from error
    if issues:
        first = issues[0]
        raise HttpBadResponse(
            f"The answer of {answer.host!r} breaks response_schema at {first.pointer or '/'!r}: {first.message[:300]}",
            details={"errors": [issue.to_dict() for issue in issues[:10]]},
        )


def _body(answer: Answer) -> Any:
    content_type = answer.headers.get("content-type", "")
    if not _is_json(content_type):
        return decode_text(answer.content, content_type)
    if not answer.content.strip():
        return None
    try:
        return whole_value(
            json.loads(_json_text(answer.content, content_type), parse_constant=_refuse, parse_float=_finite)
        )
    except (ValueError, RecursionError) as error:
        raise HttpBadResponse(
            f"{answer.host!r} says that its body is {_media_type(content_type)!r}, but it is not valid JSON."
        ) from error


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()[:100]


def _is_json(content_type: str) -> bool:
    media = _media_type(content_type)
    return media in ("application/json", "text/json") or (media.startswith("application/") and media.endswith("+json"))


def _json_text(content: bytes, content_type: str) -> str:
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        charset = _charset(content_type)
        if charset is None or charset == "utf-8":
            raise
        return content.decode(charset)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("the number is out of range")
    return value


def decode_text(content: bytes, content_type: str) -> str:
    """Decode a body with its declared charset, else UTF-8; what does not fit becomes U+FFFD."""
    charset = _charset(content_type) or "utf-8"
    try:
        return whole_text(content.decode(charset, "replace"))
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _charset(content_type: str) -> str | None:
    message = Message()
    message["content-type"] = content_type.encode("ascii", "replace").decode("ascii")
    try:
        name = message.get_content_charset()
        normal = codecs.lookup(name).name if name else None
    except (LookupError, ValueError):
        return None
    return None if normal is None or normal in _REFUSED_CODECS else normal
