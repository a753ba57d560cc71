"""CORS for the codec alone: pages of the Temporal Web UI may ask it, and no page anything else."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.execution_links import PREFIX
from orchestrator.settings import Settings

CODEC_PATHS = frozenset({f"{PREFIX}/codec/decode", f"{PREFIX}/codec/download"})
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-api-key, x-namespace",
    "Access-Control-Max-Age": "600",
}


def codec_origins(settings: Settings) -> frozenset[str]:
    """Return the origins of the settings' Web UIs."""
    if settings.api_codec_origins:
        return frozenset(origin.rstrip("/") for origin in settings.api_codec_origins)
    parts = urlsplit(settings.temporal_ui_url or "")
    return frozenset({f"{parts.scheme}://{parts.netloc}"} if parts.scheme and parts.netloc else ())


class CodecCors:
    """Answers preflights of the Web UI, and lets its pages read the codec's answers, problems included."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it where it is a preflight."""
        if scope["type"] != "http" or scope["path"] not in CODEC_PATHS:
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin", "")
        allowed = origin in self._origins
        grants = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"} if allowed else {}
        if scope["method"] == "OPTIONS" and allowed:
            await Response(status_code=204, headers={**grants, **_PREFLIGHT, "Vary": "Origin"})(scope, receive, send)
            return

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(grants)
                headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_granted)
