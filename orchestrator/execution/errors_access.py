"""Errors about who may do what, and how often."""

from __future__ import annotations

from orchestrator.execution.errors import Conflict, NotFound, RequestError


class Unauthenticated(RequestError):
    """The request carries no API key, or one that is not valid (any more)."""

    code = "unauthenticated"
    title = "Not authenticated"


class Forbidden(RequestError):
    """The key's role does not allow this."""

    code = "forbidden"
    title = "Forbidden"


class TooManyRequests(RequestError):
    """The key, the address that failed to authenticate, or the hook has used up its requests for now."""

    code = "too-many-requests"
    title = "Too many requests"


class KeyNotFound(NotFound):
    """No API key has this id."""

    code = "key-not-found"
    title = "API key not found"


class KeyExists(Conflict):
    """An active API key has this name: names are who audit entries and approvals speak of."""

    code = "key-exists"
    title = "API key exists"
