"""Records writes: a middleware that sees who asked, what for, and how it ended."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Access
from api.dependencies import Services
from orchestrator.stores.audit import AuditEntry

UNAVAILABLE = 503
LONGEST_REASON = 1000
LONGEST_TARGET = 2000


class AuditTrail:
    """Records every write of somebody who is known, refused ones too, before its answer leaves (a 503's: after it).

    Requests without a valid key, and those over their rate, are in the access log alone: a flood of them would push
    everything else out of the bounded audit log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; record its outcome."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        # Ours from here on: routing makes copies of the scope, which share it.
        state = scope.setdefault("state", {})
        outcome = 500, ""
        recorded = False

        async def send_recorded(message: Message) -> None:
            nonlocal outcome, recorded
            if message["type"] == "http.response.start":
                outcome = message["status"], _location(message)
                if outcome[0] != UNAVAILABLE:
                    recorded = True
                    await _record(scope, state.get("access"), *outcome)
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            # Of what is away, Redis may be: this answer has waited long enough.
            if not recorded:
                await _record(scope, state.get("access"), *outcome)


async def _record(scope: Scope, access: Access | None, status: int, location: str) -> None:
    if access is None or access.needed in (None, "public", "viewer"):
        return
    services: Services = scope["app"].state.services
    entry = AuditEntry(
        who=access.name,
        key_id=access.key.key_id if access.key else "",
        role=access.key.role if access.key else "",
        operation=access.operation,
        method=scope["method"],
        target=_target(scope["path"], location)[:LONGEST_TARGET],
        status=status,
        reason=(access.reason or "")[:LONGEST_REASON],
        address=scope["client"][0] if scope.get("client") else "",
    )
    await services.audit.record(entry)


def _target(path: str, location: str) -> str:
    """What was created; of an action, whose answer points at what it was done to, its own path."""
    return path if not location or path.startswith(location) else location


def _location(message: Message) -> str:
    for name, value in message["headers"]:
        if name.lower() == b"location":
            return str(value.decode("latin-1"))
    return ""
