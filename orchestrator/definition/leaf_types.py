"""Step types that hold no other steps."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.definition import limits
from orchestrator.definition.envelope import Step
from orchestrator.definition.parts import Budget, ErrorType, Part, Seconds, StatusClass, StatusCode, WorkflowId


class AgentTask(Step):
    """One task for one agent."""

    templates: ClassVar[tuple[str, ...]] = ("parameters", "session_id")

    step_type: Literal["agent_task"]
    agent_type: str = Field(min_length=1, max_length=64)
    task: str = Field(min_length=1, max_length=200)
    parameters: Any = Field(default_factory=dict, description="Template; what the prompt sees as `parameters`.")
    model: str | None = Field(None, min_length=1, max_length=200, description="`provider/model`, over the record's.")
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema of the answer, over the task's.")
    tools: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None, max_length=128, description="Those of the agent's tools that this step may use; absent: all of them."
    )
    session_id: str | None = Field(
        None, min_length=1, max_length=1_000, description="Template; the conversation that the agent goes on with."
    )
    max_turns: int | None = Field(None, ge=1, le=limits.MOST_TURNS, description="Model answers, over the record's.")
    budget: Budget | None = Field(None, description="What this step may spend, beside the document's budget.")

    @field_validator("session_id", mode="after")
    @classmethod
    def _session_id_can_be_used(cls, session_id: str | None) -> str | None:
        if (
            session_id is not None
            and "{{" not in session_id
            and not re.fullmatch(limits.SESSION_ID_PATTERN, session_id)
        ):
            raise ValueError(f"{session_id!r} is not a session's id: {limits.SESSION_ID_WORDS}")
        return session_id


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
    secret_templates: ClassVar[tuple[str, ...]] = ("headers", "query", "auth")

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


class Activity(Step):
    """Any Temporal activity, by name, in any language, on `task_queue`."""

    templates: ClassVar[tuple[str, ...]] = ("arguments",)

    step_type: Literal["activity"]
    activity: str = Field(min_length=1, max_length=200)
    arguments: Any = Field(None, description="Template; a list gives the positional arguments, anything else the one.")


class Transform(Step):
    """A pure template."""

    templates: ClassVar[tuple[str, ...]] = ("value",)

    step_type: Literal["transform"]
    value: Any


class Assign(Step):
    """Sets run variables."""

    templates: ClassVar[tuple[str, ...]] = ("values",)

    step_type: Literal["assign"]
    values: dict[str, Any] = Field(min_length=1, max_length=1_000, description="Template for each variable.")


class Wait(Step):
    """A durable timer."""

    templates: ClassVar[tuple[str, ...]] = ("seconds", "until")
    takes_retry: ClassVar[bool] = False

    step_type: Literal["wait"]
    seconds: Annotated[float, Field(ge=0, le=limits.LONGEST_SECONDS)] | str | None = Field(
        None, description="Seconds, or a template that gives them."
    )
    until: str | None = Field(None, description="ISO 8601 date and time in UTC, or a template that gives one.")

    @field_validator("seconds", mode="after")
    @classmethod
    def _seconds_can_be_told(cls, seconds: float | str | None) -> float | str | None:
        if isinstance(seconds, str) and "{{" not in seconds:
            raise ValueError(f"{seconds!r} is neither a number nor a template: text without '{{{{' stays text")
        return seconds

    @field_validator("until", mode="after")
    @classmethod
    def _until_is_a_moment(cls, until: str | None) -> str | None:
        if until is not None and "{{" not in until:
            try:
                datetime.fromisoformat(until)
            except ValueError:
                raise ValueError(f"{until!r} is neither an ISO 8601 date and time nor a template") from None
        return until

    @model_validator(mode="after")
    def _exactly_one(self) -> Wait:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("a wait takes exactly one of 'seconds' and 'until'")
        return self


class WaitForSignal(Step):
    """Waits for a message from outside; its payload is the output."""

    takes_retry: ClassVar[bool] = False

    step_type: Literal["wait_for_signal"]
    signal: str = Field(min_length=1, max_length=200)
    json_schema: dict[str, Any] | bool | None = Field(None, alias="schema", description="JSON Schema of the payload.")
    accept_when: str | bool | None = Field(None, description="Condition over `result`, the payload.")
    timeout_seconds: Seconds | None = Field(None, description="Then the step fails with `timeout`.")


class Approval(Step):
    """Waits for people's decision."""

    templates: ClassVar[tuple[str, ...]] = ("title", "approvers")
    takes_retry: ClassVar[bool] = False

    step_type: Literal["approval"]
    title: str = Field(min_length=1, max_length=2_000)
    form_schema: dict[str, Any] | bool | None = None
    approvers: list[str] | str | None = Field(None, description="Who may decide; absent: anybody who is let in.")
    quorum: int = Field(1, ge=1, le=100, description="Approvals needed; any rejection decides.")
    timeout_seconds: Seconds | None = None
    on_timeout: Literal["fail", "approve", "reject"] = "fail"
    on_reject: Literal["fail", "continue"] = "fail"
    remind_every_seconds: Seconds | None = None


class ChildWorkflow(Step):
    """A child execution of another workflow."""

    templates: ClassVar[tuple[str, ...]] = ("input",)

    step_type: Literal["workflow"]
    workflow_id: WorkflowId
    version: int | None = Field(None, ge=1, description="Absent: the latest when the step starts.")
    input: Any = Field(default_factory=dict, description="Template; the child's input.")
    wait: bool = Field(True, description="False: complete as soon as the child has started.")
    on_parent_close: Literal["cancel", "terminate", "abandon"] = "cancel"


class Fail(Step):
    """Fails its scope with a typed error."""

    templates: ClassVar[tuple[str, ...]] = ("message", "details")

    step_type: Literal["fail"]
    error_type: ErrorType
    message: str = Field(min_length=1, max_length=10_000)
    details: Any = Field(default_factory=dict)


class Finish(Step):
    """Ends the execution now, completed."""

    templates: ClassVar[tuple[str, ...]] = ("value",)

    step_type: Literal["finish"]
    value: Any = None
