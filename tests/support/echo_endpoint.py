"""An HTTP server that tells everything it was sent, in every form that a careless far end might."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from tests.support.local_server import served


def forms_of(secret: str) -> dict[str, str]:
    """Every form of a secret that must not be told, by its name."""
    data = secret.encode()
    return {
        "plain": secret,
        "url": quote(secret, safe=""),
        "url, path": quote(secret),
        "url, form": quote_plus(secret),
        "url, lower case": re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        "json": json.dumps(secret)[1:-1],
        "json, slashes": json.dumps(secret)[1:-1].replace("/", "\\/"),
        "json, no ascii": json.dumps(secret, ensure_ascii=False)[1:-1],
        "json in json": json.dumps(json.dumps(secret))[3:-3],
        "html": html.escape(secret),
        "repr": repr(secret)[1:-1],
        "base64": base64.b64encode(data).decode().rstrip("="),
        "base64, url": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "hexadecimal": data.hex(),
        "hexadecimal, upper case": data.hex().upper(),
        "base64, second": base64.b64encode(b"x" + data).decode(),
        "base64, third": base64.b64encode(b"xy" + data).decode(),
    }


class EchoEndpoint:
    """The server.

    Attributes:
        url: where it listens. `/echo` answers 200, `/refuse` 403, `/cut` 403 with a secret over the excerpt's end,
            each telling what it was sent.
        headers: of every request so far, names in lower case.
        queries: of every request so far.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers: list[dict[str, str]] = []
        self.queries: list[dict[str, str]] = []


@contextmanager
def echo_endpoint() -> Iterator[EchoEndpoint]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(urlsplit(self.path).query))
            endpoint.headers.append(headers)
            endpoint.queries.append(query)
            values = [*query.values(), *(headers.get(name, "") for name in ("authorization", "x-secret"))]
            told = {
                "headers": headers,
                "query": query,
                "path": self.path,
                "forms": [list(forms_of(value).values()) for value in values if value],
                "named": dict.fromkeys(values, 1),
                "whole": base64.b64encode(json.dumps(headers).encode()).decode(),
                "numbers": [int(value) for value in values if value.isdigit()],
            }
            body = json.dumps(told).encode()
            if self.path.startswith("/cut"):
                body = b"." * (2048 - 5) + headers["x-secret"].encode()
            self.send_response(200 if self.path.startswith("/echo") else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Told", headers.get("authorization", ""))
            self.send_header("WWW-Authenticate", headers.get("x-secret", ""))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with served(Handler) as address:
        endpoint = EchoEndpoint(address)
        yield endpoint
