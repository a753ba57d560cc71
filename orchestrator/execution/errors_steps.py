"""What makes steps fail: leaves of the error tree that attempts raise."""

from __future__ import annotations

from orchestrator.execution.errors import OrchestratorError


class StepFailure(OrchestratorError):
    """The root of what an activity reports; `code` becomes the step's `error.type`."""

    code = "step-failed"
    title = "Step failed"


class AttemptTimeout(StepFailure):
    """An attempt, or all of them together, took longer than its timeout; `details.kind` names which of the four."""

    code = "timeout"
    title = "Timeout"
    retryable = True


class ExecutionTimeout(StepFailure):
    """The execution's own deadline was reached."""

    code = "execution-timeout"
    title = "Execution timeout"


class ModelUnavailable(StepFailure):
    """The model server cannot be reached, or answered with 5xx or 408/409."""

    code = "model-unavailable"
    title = "Model unavailable"
    retryable = True


class ModelRateLimited(StepFailure):
    """The model server answered 429; its `Retry-After` is kept."""

    code = "model-rate-limited"
    title = "Model rate limited"
    retryable = True


class ModelRejected(StepFailure):
    """The model server refused the request (4xx): a wrong key, model name or parameter."""

    code = "model-rejected"
    title = "Model request rejected"


class ModelBadResponse(StepFailure):
    """The answer does not speak the protocol: not JSON, no choices, cut off."""

    code = "model-bad-response"
    title = "Malformed model response"
    retryable = True


class InvalidOutput(StepFailure):
    """The model's answer does not satisfy the task's `output_schema`; `details.errors` lists why."""

    code = "invalid-output"
    title = "Invalid model output"
    retryable = True


class CircuitOpen(StepFailure):
    """The dependency's circuit is open: the attempt is parked, not counted."""

    code = "circuit-open"
    title = "Circuit open"
    retryable = True
    parks = True


class RateLimitedLocally(StepFailure):
    """The fleet's own limit for this provider is used up for now: the attempt is parked, not counted."""

    code = "rate-limited-locally"
    title = "Rate limited locally"
    retryable = True
    parks = True


class AgentFailed(StepFailure):
    """A Python agent raised something that it did not classify."""

    code = "agent-failed"
    title = "Agent failed"
    retryable = True


class HttpStatus(StepFailure):
    """The far end answered with an unexpected status; the code is `http-<status>`."""

    code = "http-status"
    title = "Unexpected HTTP status"


class HttpConnection(StepFailure):
    """No connection, or it broke."""

    code = "http-connection"
    title = "HTTP connection failed"
    retryable = True


class HttpBlocked(StepFailure):
    """The HTTP guard refuses this URL."""

    code = "http-blocked"
    title = "HTTP request blocked"


class InvalidHttpRequest(StepFailure):
    """The step's inputs do not make an HTTP request: a bad method, a forbidden header, two bodies."""

    code = "invalid-http-request"
    title = "Invalid HTTP request"


class HttpBadResponse(StepFailure):
    """The response is too large, not what its type says, or breaks `response_schema`."""

    code = "http-bad-response"
    title = "Unusable HTTP response"


class VectorRejected(StepFailure):
    """The vector store refuses the request: a bad name or vector, a filter it does not know, too many documents."""

    code = "vector-rejected"
    title = "Vector request rejected"


class DimensionMismatch(VectorRejected):
    """The collection holds vectors of another dimension or distance; `details` has both."""

    code = "dimension-mismatch"
    title = "Dimension mismatch"


class CollectionNotFound(VectorRejected):
    """No collection of vectors has this name."""

    code = "collection-not-found"
    title = "Collection not found"


class OutcomeUnknown(StepFailure):
    """The service does not know whether an effect happened."""

    code = "outcome-unknown"
    title = "Outcome unknown"


class MissingSecret(StepFailure):
    """A secret that the step names is not configured."""

    code = "missing-secret"
    title = "Missing secret"
