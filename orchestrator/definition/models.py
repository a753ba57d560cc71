"""The fields of a definition: the document, the step envelope, the step types of language version 1."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.definition import limits

Seconds = Annotated[float, Field(gt=0, le=limits.LONGEST_SECONDS)]
StepId = Annotated[str, Field(pattern=limits.STEP_ID_PATTERN)]
WorkflowId = Annotated[str, Field(pattern=limits.WORKFLOW_ID_PATTERN)]
StatusCode = Annotated[int, Field(ge=100, le=599)]
StatusClass = Literal["1xx", "2xx", "3xx", "4xx", "5xx"]
Tags = dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]]


class Part(BaseModel):
    """Common behaviour: unknown fields are errors, and nothing is converted (`"5"` is no number)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Retry(Part):
    """Temporal's retry policy."""

    max_attempts: int | None = Field(None, ge=0, le=1_000_000, description="Attempts in all; 0: no bound.")
    initial_interval_seconds: Seconds | None = None
    backoff_coefficient: float | None = Field(None, ge=1, le=100)
    max_interval_seconds: Seconds | None = None
    non_retryable_errors: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None, max_length=100, description="Error types that are not tried again; `http-4xx` and `http-5xx` are classes."
    )


class Timeouts(Part):
    """Temporal's four timeouts of an activity."""

    start_to_close_seconds: Seconds | None = Field(None, description="One attempt.")
    schedule_to_close_seconds: Seconds | None = Field(None, description="All attempts and the waits between them.")
    schedule_to_start_seconds: Seconds | None = Field(None, description="Waiting for a worker.")
    heartbeat_seconds: float | None = Field(
        None, ge=1, le=limits.LONGEST_SECONDS, description="Longest silence of a running attempt."
    )


class AtLeast(Part):
    """A join that runs the step once n of its dependencies completed."""

    at_least: int = Field(ge=1, le=limits.STEPS)


class Step(Part):
    """The envelope that every step has."""

    templates: ClassVar[tuple[str, ...]] = ()
    """Fields of the type that are templates."""

    step_id: StepId
    step_type: str
    name: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=2_000)
    depends_on: list[str] = Field(default_factory=list, max_length=limits.STEPS)
    join: Literal["all", "any", "settled"] | AtLeast = "all"
    when: str | bool | None = Field(None, description="A condition; the step is skipped when it is false.")
    retry: Retry | None = None
    timeouts: Timeouts | None = None
    output: Any = Field(None, description="Template over `result`; the step's output.")
    task_queue: str | None = Field(None, min_length=1, max_length=200)
    priority: int | None = Field(None, ge=1, le=5)

    @property
    def label(self) -> str:
        """What people read: the name, else the id."""
        return self.name or self.step_id


class AgentTask(Step):
    """One task for one agent."""

    templates: ClassVar[tuple[str, ...]] = ("parameters",)

    step_type: Literal["agent_task"]
    agent_type: str = Field(min_length=1, max_length=64)
    task: str = Field(min_length=1, max_length=200)
    parameters: Any = Field(default_factory=dict, description="Template; what the prompt sees as `parameters`.")
    model: str | None = Field(None, min_length=1, max_length=200, description="`provider/model`, over the record's.")
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema of the answer, over the task's.")


class BasicAuth(Part):
    """HTTP Basic (RFC 7617)."""

    username: str
    password: str


class ApiKeyAuth(Part):
    """A key in a header."""

    header: str = Field(min_length=1, max_length=200)
    value: str


class Auth(Part):
    """Exactly one way to authenticate."""

    basic: BasicAuth | None = None
    bearer: str | None = None
    api_key: ApiKeyAuth | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if len(self.model_fields_set) != 1:
            raise ValueError("auth takes exactly one of 'basic', 'bearer', 'api_key'")
        return self


class ApiCall(Step):
    """One HTTP request through the guarded client."""

    templates: ClassVar[tuple[str, ...]] = ("url", "headers", "query", "json_body", "form", "text", "auth")

    step_type: Literal["api_call"]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    url: str = Field(min_length=1, max_length=8_192)
    headers: dict[str, Any] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    json_body: Any = Field(None, alias="json", description="Template; sent as application/json.")
    form: dict[str, Any] | None = None
    text: str | None = None
    auth: Auth | None = None
    expect_status: list[StatusCode | StatusClass] = Field(["2xx"], min_length=1, max_length=100)
    response_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_body(self) -> ApiCall:
        bodies = [name for name in ("json_body", "form", "text") if name in self.model_fields_set]
        if len(bodies) > 1:
            raise ValueError("a request has one body: give one of 'json', 'form', 'text'")
        return self


class Transform(Step):
    """A pure template."""

    templates: ClassVar[tuple[str, ...]] = ("value",)

    step_type: Literal["transform"]
    value: Any


class Wait(Step):
    """A durable timer."""

    templates: ClassVar[tuple[str, ...]] = ("seconds", "until")

    step_type: Literal["wait"]
    seconds: Annotated[float, Field(ge=0, le=limits.LONGEST_SECONDS)] | str | None = Field(
        None, description="Seconds, or a template that gives them."
    )
    until: str | None = Field(None, description="ISO 8601 date and time in UTC, or a template that gives one.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Wait:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("a wait takes exactly one of 'seconds' and 'until'")
        if self.retry is not None:
            raise ValueError("a wait takes no 'retry': a timer does not fail")
        return self


AnyStep = Annotated[AgentTask | ApiCall | Transform | Wait, Field(discriminator="step_type")]

STEP_TYPES: dict[str, type[Step]] = {
    "agent_task": AgentTask,
    "api_call": ApiCall,
    "transform": Transform,
    "wait": Wait,
}


class Defaults(Part):
    """Policies of all steps; a step's own come first, the built-in ones last."""

    retry: Retry | None = None
    timeouts: Timeouts | None = None
    task_queue: str | None = Field(None, min_length=1, max_length=200)


class DocumentTimeouts(Part):
    """Deadlines of the whole execution."""

    execution_seconds: Seconds | None = Field(None, description="From start to end; then `execution-timeout`.")


class DocumentLimits(Part):
    """Bounds of one execution."""

    max_parallel_steps: int = Field(limits.MAX_PARALLEL_STEPS, ge=1, le=limits.MAX_PARALLEL_STEPS)


class DocumentHead(Part):
    """A workflow definition without its steps."""

    workflow_id: WorkflowId | None = None
    name: str | None = Field(None, min_length=1, max_length=200)
    description: str | None = Field(None, max_length=10_000)
    tags: Tags = Field(default_factory=dict, max_length=50)
    language_version: Literal[1] = 1
    input_schema: dict[str, Any] | bool | None = None
    output_schema: dict[str, Any] | bool | None = None
    vars: dict[str, Any] = Field(default_factory=dict)
    output: Any = Field(None, description="Template of the result; default: `{step_id: output}` of the sinks.")
    defaults: Defaults | None = None
    timeouts: DocumentTimeouts | None = None
    limits: DocumentLimits | None = None


class Document(DocumentHead):
    """One workflow definition."""

    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)
