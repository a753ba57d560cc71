"""From a step's inputs to the bytes of one HTTP request."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import httpx2

from orchestrator.execution.errors_steps import HttpBlocked, InvalidHttpRequest
from orchestrator.execution.messages import HttpRequestInput

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
# These decide how the connection is used or which host answers: set by a definition they could smuggle requests.
_REFUSED_HEADERS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET_HEADERS: Final = re.compile(r"auth|cookie|key|token|secret|password|signature", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ComposedRequest:
    """What the guarded client sends."""

    method: str
    url: httpx2.URL
    headers: list[tuple[bytes, bytes]]
    content: bytes
    secrets: list[str] = field(default_factory=list)
    """Texts that no message may repeat."""
    from_auth: list[str] = field(default_factory=list)
    """Those of them that `auth` made."""


def compose(request: HttpRequestInput) -> ComposedRequest:
    """Build the request.

    Raises:
        InvalidHttpRequest: the inputs do not make a request.
        HttpBlocked: the URL cannot be read.
    """
    method = request.method.upper()
    if not _TOKEN.fullmatch(method) or method in _REFUSED_METHODS:
        raise InvalidHttpRequest(
            f"The method {request.method[:40]!r} is not allowed; use GET, POST, PUT, PATCH, DELETE."
        )
    headers = dict(_user_headers(request.headers))
    secrets = [value for name, (_, value) in headers.items() if _SECRET_HEADERS.search(name)]
    from_auth: list[str] = []
    for name, value, confidential in _auth_headers(request.auth):
        _refuse_header(name)
        headers[name.lower()] = (name, value)
        from_auth += [*confidential, value]
    content, content_type = _body(request)
    if content_type:
        headers.setdefault("content-type", ("Content-Type", content_type))
    headers.setdefault("idempotency-key", ("Idempotency-Key", request.call.idempotency_key))
    headers.setdefault("accept", ("Accept", "application/json, */*;q=0.5"))
    headers.setdefault("user-agent", ("User-Agent", "agent-orchestrator"))
    raw = [(name.encode("ascii"), _header_bytes(name, value)) for name, value in headers.values()]
    return ComposedRequest(method, _url(request), raw, content, [*secrets, *from_auth], from_auth)


def _user_headers(headers: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, value in headers.items():
        if value is None:
            continue
        _refuse_header(name)
        yield name.lower(), (name, _scalar(value, f"The header {name!r}"))


def _refuse_header(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise InvalidHttpRequest(f"{name[:80]!r} is not a header name.")
    if name.lower() in _REFUSED_HEADERS or name.lower().startswith("proxy-"):
        raise InvalidHttpRequest(f"The header {name!r} is set by the HTTP client and cannot be given.")


def _header_bytes(name: str, value: str) -> bytes:
    value = value.strip(" \t")
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in value):
        raise InvalidHttpRequest(f"The header {name!r} holds a line break or another control character.")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _scalar(value: Any, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return json.dumps(value)
    raise InvalidHttpRequest(f"{what} is {type(value).__name__}; write a text, a number or a boolean.")


def _auth_headers(auth: Mapping[str, Any] | None) -> Iterator[tuple[str, str, list[str]]]:
    """Yield header name, value and the confidential texts in it."""
    if not auth:
        return
    if len(auth) != 1:
        raise InvalidHttpRequest("auth takes exactly one of basic, bearer and api_key.")
    ((kind, value),) = auth.items()
    if kind == "bearer" and isinstance(value, str):
        yield "Authorization", f"Bearer {value}", [value]
    elif kind == "basic" and isinstance(value, Mapping):
        user, password = (_scalar(value.get(key, ""), f"auth.basic.{key}") for key in ("username", "password"))
        coded = base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode("ascii")
        yield "Authorization", f"Basic {coded}", [password, coded]
    elif kind == "api_key" and isinstance(value, Mapping) and isinstance(value.get("header"), str):
        key = _scalar(value.get("value"), "auth.api_key.value")
        yield value["header"], key, [key]
    else:
        raise InvalidHttpRequest(
            "auth is none of {basic: {username, password}}, {bearer: text} and {api_key: {header, value}}."
        )


def _body(request: HttpRequestInput) -> tuple[bytes, str | None]:
    given = [request.has_json or request.json_body is not None, request.form is not None, request.text is not None]
    if sum(given) > 1:
        raise InvalidHttpRequest("Only one of json, form and text can be the body.")
    if given[0]:
        return _json_bytes(request.json_body), "application/json"
    if request.form is not None:
        fields = list(_pairs(request.form, "form"))
        return urlencode(fields, errors="replace").encode("ascii"), "application/x-www-form-urlencoded"
    if request.text is not None:
        return request.text.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    return b"", None


def _json_bytes(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8, but its escape is valid JSON.
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidHttpRequest("The json body is not JSON: it holds NaN, infinity or a foreign value.") from error


def _pairs(values: Mapping[str, Any], what: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if value is None:
            continue
        for item in value if isinstance(value, list) else [value]:
            yield name, _scalar(item, f"{what}.{name}")


def _url(request: HttpRequestInput) -> httpx2.URL:
    try:
        url = httpx2.URL(request.url)
        query = urlencode(list(_pairs(request.query, "query")), errors="replace")
        if query:
            present = url.query.decode("ascii")
            url = url.copy_with(query=f"{present}&{query}".lstrip("&").encode("ascii"))
        return url
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise HttpBlocked("The HTTP guard refuses the URL: it is not a valid URL.") from error
