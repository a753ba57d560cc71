"""The one dependency of the whole app: who asks, and may they. It runs before a body is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from api.codec_cors import CODEC_PATHS, codec_origins
from api.dependencies import services_of
from api.roles import OPERATION_ROLES, Needed, allows
from orchestrator.execution.errors_access import Forbidden, Unauthenticated
from orchestrator.settings import Settings, is_loopback
from orchestrator.stores.api_keys import ApiKey

LONGEST_TOKEN = 512
CODEC_COOKIE = "orchestrator_codec_key"
NOBODY = "anonymous"


@dataclass(slots=True)
class Access:
    """One request as far as access is concerned.

    Attributes:
        operation: its operation id, "" for one without.
        needed: the role that it needs.
        key: who asks; None without authentication.
        reason: what the body gave as the reason, for the audit log.
    """

    operation: str
    needed: Needed | None
    key: ApiKey | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The key's name."""
        return self.key.name if self.key else NOBODY


async def authorize(request: Request) -> None:
    """Let the request go on if its key's role allows its operation; an operation without a role is for nobody.

    Raises:
        Unauthenticated: there is no valid key.
        Forbidden: the key's role is not enough, or a foreign page asks an open API.
        TooManyRequests: not now.
        RedisUnavailable: keys cannot be looked up, and nobody is let in.
    """
    if getattr(request.state, "access", None) is not None:
        return
    operation = str(getattr(request.scope.get("route"), "operation_id", None) or "")
    access = Access(operation, OPERATION_ROLES.get(operation))
    settings: Settings = request.app.state.settings
    if settings.api_auth == "off":
        _refuse_foreign_pages(request, settings)
        if access.needed is None:
            raise Forbidden(f"the operation '{operation}' has no role in api/roles.py")
    elif access.needed != "public" or token_of(request):
        await _check_key(request, access)
    request.state.access = access


async def _check_key(request: Request, access: Access) -> None:
    token = token_of(request)
    if not token:
        hint = "send Authorization: Bearer <key> or X-API-Key; `orchestrator keys create` makes one"
        raise Unauthenticated("this operation needs an API key", hint=hint)
    if len(token) > LONGEST_TOKEN:
        raise Unauthenticated("what was sent is no API key", hint="check that it was copied whole")
    access.key = await services_of(request).keys.admit(token, address_of(request))
    if not allows(access.key.role, access.needed):
        request.state.access = access
        raise Forbidden(
            f"the role '{access.key.role}' of the API key '{access.name}' does not allow this operation",
            hint=f"it needs the role '{access.needed}'" if access.needed else None,
        )


def address_of(request: Request) -> str:
    """Return where a request comes from, under which failures to authenticate are counted."""
    return request.client.host if request.client else "unknown"


def token_of(request: Request) -> str:
    """Return the key that a request was sent with, or ""; the Web UI's own bearer token is none for the codec."""
    cookie = request.cookies.get(CODEC_COOKIE, "")
    if cookie and request.url.path in CODEC_PATHS:
        return cookie
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key", "").strip()


def _refuse_foreign_pages(request: Request, settings: Settings) -> None:
    """Without keys, a page in the user's browser could steer the API, by a form or by a name that leads to loopback."""
    public = urlsplit(settings.api_public_url or "").hostname
    host = _host_of(request)
    if not is_loopback(host) and host != public:
        raise Forbidden(
            f"an API without authentication answers on loopback only, not as '{host[:100]}'",
            hint="ask for 127.0.0.1 or localhost, or set API_AUTH=on",
        )
    if request.url.path in CODEC_PATHS and request.headers.get("origin") in codec_origins(settings):
        return
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise Forbidden("an API without authentication does not answer pages of other sites")


def _host_of(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        # No host has such a name.
        return ""


def access_of(request: Request) -> Access:
    """Return what `authorize` found."""
    access: Access = request.state.access
    return access


def note_reason(request: Request, body: object) -> None:
    """Keep the body's `reason` for the audit log."""
    reason = body.get("reason") if isinstance(body, dict) else None
    if isinstance(reason, str):
        access_of(request).reason = reason


def deciding_name(request: Request, given: str | None) -> str | None:
    """Return who decides: the key's name; without authentication, whoever the request names.

    Raises:
        Forbidden: the request names somebody else.
    """
    key = access_of(request).key
    if key is None:
        return given
    if given is not None and given != key.name:
        raise Forbidden(
            f"the API key is that of '{key.name}', who cannot decide as '{given[:100]}'",
            hint="leave `by` out, or send the key of who decides",
        )
    return key.name


AccessDep = Annotated[Access, Depends(access_of)]
