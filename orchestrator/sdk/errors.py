"""What can go wrong between a client and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The root of the client's errors; its text is a sentence for people."""


class ServiceUnreachable(ClientError):
    """Nothing answers at the API's address, or what answers is not the API.

    Attributes:
        was_sent: the request may have reached the service.
    """

    def __init__(self, message: str, *, was_sent: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class WaitEnded(ClientError):
    """An execution was not closed in the time that the caller gave it; it goes on.

    Attributes:
        document: of the execution, as it was last read.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        super().__init__(f"execution '{document.get('execution_id')}' is still {document.get('status')}")


class ApiProblem(ClientError):
    """The API answered with a problem (RFC 9457).

    Attributes:
        status: the HTTP status.
        code: stable kebab-case identifier of the error.
        detail: one sentence.
        hint: the way out, or None.
        errors: what is wrong with the document that was sent, each with `pointer`, `message` and maybe `hint`.
        retry_after_seconds: when to come back, where the API says so.
        document: the problem as it came.
    """

    def __init__(self, status: int, document: Mapping[str, Any], *, retry_after_seconds: float | None = None) -> None:
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.document = dict(document)
        self.code: str = str(document.get("code") or f"http-{status}")
        self.detail: str = str(document.get("detail") or document.get("title") or f"the API answered with {status}")
        self.hint: str | None = document.get("hint")
        self.errors: list[dict[str, Any]] = list(document.get("errors") or ())
        super().__init__(self.detail)
