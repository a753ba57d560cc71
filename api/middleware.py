"""What is the same for every request: collection paths with and without their slash, HEAD, secure headers."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class UniformPaths:
    """Serve `/workflows` as `/workflows/`, `/workflows/x/` as `/workflows/x`, and HEAD as GET.

    A redirect would lose the body of a POST in many clients.
    """

    def __init__(self, app: ASGIApp, collections: Collection[str]) -> None:
        """Args: `collections` are the full paths that end in a slash."""
        self._app = app
        self._collections = frozenset(collections)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its one path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": self._uniform(scope["path"])}
        if scope["method"] == "HEAD":
            # The server in front still sees HEAD, and sends no body; an endless one must know.
            scope["method"], scope["head"] = "GET", True
        await self._app(scope, receive, send)

    def _uniform(self, path: str) -> str:
        if path in self._collections:
            return path
        if f"{path}/" in self._collections:
            return f"{path}/"
        return path[:-1] if path.endswith("/") and not path.endswith("//") and len(path) > 1 else path


class SecureHeaders:
    """Add the headers that keep browsers from guessing types, leaking paths, caching answers and framing them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; complete the response's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                extra = [(name, value) for name, value in SECURE_HEADERS if name not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
