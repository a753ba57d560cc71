"""The error tree of the whole service: every failure that a user can meet has a leaf here.

A leaf has a stable kebab-case `code`, a `title`, and says whether trying again can help. It is translated twice and
nowhere else: to Temporal's `ApplicationError` (`activities/failures.py`) and to `application/problem+json`
(`api/problems.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.definition.issues import Issue

if TYPE_CHECKING:
    from orchestrator.execution.messages import TokenUsage


class OrchestratorError(Exception):
    """The root of the tree.

    Attributes:
        code: stable kebab-case identifier; an HTTP status failure carries its own (`http-404`).
        title: the same for every error of the class.
        retryable: whether the same call may succeed later.
        message: one sentence that quotes identifiers.
        hint: the way out, or None.
        retry_after_seconds: the earliest sensible next try, or None.
        details: further JSON fields.
        usage: what a model call had cost when it failed, or None.
        report: what an activity tells the machine beside the error; nobody else sees it.
    """

    code: str = "internal-error"
    title: ClassVar[str] = "Internal error"
    parks: bool = False
    """Whether an attempt that ends so is parked: tried again after the delay, and not counted."""
    retryable: bool = False
    usage: TokenUsage | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_seconds: float | None = None,
        details: dict[str, Any] | None = None,
        code: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        self.details = details or {}
        self.report: dict[str, Any] | None = None
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


# --- what a caller sent ------------------------------------------------------------------------------------------


class RequestError(OrchestratorError):
    """The request cannot be served as it was sent."""

    code = "invalid-request"
    title = "Invalid request"

    def __init__(self, message: str, *, issues: Sequence[Issue] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.issues = tuple(issues)


class MalformedJson(RequestError):
    """The body is not JSON, or uses what RFC 8259 leaves out (NaN, duplicate keys)."""

    code = "malformed-json"
    title = "Malformed JSON"


class PayloadTooLarge(RequestError):
    """The body or a value is over its limit."""

    code = "payload-too-large"
    title = "Payload too large"


class UnsupportedMediaType(RequestError):
    """The body is not `application/json`."""

    code = "unsupported-media-type"
    title = "Unsupported media type"


class InvalidDefinition(RequestError):
    """A workflow definition breaks a rule; `issues` holds every one."""

    code = "invalid-definition"
    title = "Invalid workflow definition"

    @classmethod
    def because(cls, issues: Sequence[Issue]) -> InvalidDefinition:
        """Return the error for what validation found; its message tells the first issue and how many there are."""
        first = issues[0]
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        return cls(f"{first.pointer or '/'}: {first.message}{more}", issues=issues, hint=first.hint)


class InvalidInput(RequestError):
    """The input does not satisfy the definition's `input_schema`."""

    code = "invalid-input"
    title = "Invalid input"


class InvalidSessionId(RequestError):
    """A session's id is no short plain text."""

    code = "invalid-session-id"
    title = "Invalid session id"


class InvalidAgent(RequestError):
    """An agent record breaks a rule; `issues` holds every one."""

    code = "invalid-agent"
    title = "Invalid agent record"


class NotFound(OrchestratorError):
    """The root of everything that is not there."""

    code = "not-found"
    title = "Not found"


class WorkflowNotFound(NotFound):
    """No definition has this id or version."""

    code = "workflow-not-found"
    title = "Workflow not found"


class ExecutionNotFound(NotFound):
    """No execution has this id, or its retention has ended."""

    code = "execution-not-found"
    title = "Execution not found"


class ExecutionExpired(ExecutionNotFound):
    """The execution ended and is no longer kept: Temporal's retention is over, or somebody deleted it."""

    code = "execution-expired"
    title = "Execution expired"


class StepNotFound(NotFound):
    """The execution has no step at this path, or does not keep it any more."""

    code = "step-not-found"
    title = "Step not found"


class AgentNotFound(NotFound):
    """No agent has this type."""

    code = "agent-not-found"
    title = "Agent not found"


class SessionNotFound(NotFound):
    """No conversation has this id, or it has run out."""

    code = "session-not-found"
    title = "Session not found"


class BreakerNotFound(NotFound):
    """No circuit of this name was used lately."""

    code = "breaker-not-found"
    title = "Circuit breaker not found"


class WorkflowDeleted(OrchestratorError):
    """The definition was deleted: it starts no more executions."""

    code = "workflow-deleted"
    title = "Workflow deleted"


class Conflict(OrchestratorError):
    """The root of requests that do not fit the present state."""

    code = "conflict"
    title = "Conflict"


class WorkflowExists(Conflict):
    """A definition with this id exists."""

    code = "workflow-exists"
    title = "Workflow exists"


class AgentExists(Conflict):
    """An agent with this type exists."""

    code = "agent-exists"
    title = "Agent exists"


class CollectionExists(Conflict):
    """A collection of vectors with this name exists."""

    code = "collection-exists"
    title = "Collection exists"


class VersionConflict(Conflict):
    """The `If-Match` version is not the latest: somebody wrote in between."""

    code = "version-conflict"
    title = "Version conflict"


class WrongState(Conflict):
    """The execution's status does not allow this."""

    code = "wrong-state"
    title = "Wrong state"


class IdempotencyMismatch(Conflict):
    """The key belongs to a start with another body."""

    code = "idempotency-mismatch"
    title = "The Idempotency-Key was used with another request"


class InvalidForm(RequestError):
    """An approval's form does not satisfy its `form_schema`."""

    code = "invalid-form"
    title = "Invalid form"


class SignalsFull(RequestError):
    """The execution keeps 1,000 signals that no step has taken; another one would be lost."""

    code = "signals-full"
    title = "Too many signals"


class ConcurrencyLimit(Conflict):
    """Every place under the execution's concurrency key is taken; `details.holders` names who has them."""

    code = "concurrency-limit"
    title = "Concurrency limit reached"


# --- parts that are away -----------------------------------------------------------------------------------------


class Unavailable(OrchestratorError):
    """The root of parts that do not answer; always worth another try."""

    code = "unavailable"
    title = "Service unavailable"
    retryable = True


class TemporalUnavailable(Unavailable):
    """The Temporal server does not answer."""

    code = "temporal-unavailable"
    title = "Temporal unavailable"


class RedisUnavailable(Unavailable):
    """Redis does not answer."""

    code = "redis-unavailable"
    title = "Redis unavailable"


class VectorsUnavailable(Unavailable):
    """The vector store does not answer, or there is none."""

    code = "vectors-unavailable"
    title = "Vector store unavailable"


class VectorsLocked(VectorsUnavailable):
    """Another process owns the folder of the embedded vector store."""

    code = "vectors-locked"
    title = "Vector store locked"


class ClaimsUnavailable(Unavailable):
    """The store of large values does not answer."""

    code = "claims-unavailable"
    title = "Claim store unavailable"
    parks = True


class ClaimMissing(Unavailable):
    """A large value is not in the claim store; the execution waits until it is put back."""

    code = "claim-missing"
    title = "Claim missing"
    parks = True


class NoWorker(Unavailable):
    """No worker answered in time."""

    code = "no-worker"
    title = "No worker"


class TooManyStreams(Unavailable):
    """The process serves as many event streams as it may."""

    code = "too-many-streams"
    title = "Too many event streams"
