"""What can go wrong between a client and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The root of the client's errors; its text is a sentence for people."""


class ServiceUnreachable(ClientError):
    """Nothing answers at the API's address, or what answers is not the API."""


class ApiProblem(ClientError):
    """The API answered with a problem (RFC 9457).

    Attributes:
        status: the HTTP status.
        code: stable kebab-case identifier of the error.
        detail: one sentence.
        hint: the way out, or None.
        errors: what is wrong with the document that was sent, each with `pointer`, `message` and maybe `hint`.
        document: the problem as it came.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.document = dict(document)
        self.code: str = str(document.get("code") or f"http-{status}")
        self.detail: str = str(document.get("detail") or document.get("title") or f"the API answered with {status}")
        self.hint: str | None = document.get("hint")
        self.errors: list[dict[str, Any]] = list(document.get("errors") or ())
        super().__init__(self.detail)
