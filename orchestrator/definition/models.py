"""The whole document of a definition, and the table of its step types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.definition import limits
from orchestrator.definition.block_types import (
    Branch,
    Case,
    Default,
    Foreach,
    Loop,
    Parallel,
    Switch,
)
from orchestrator.definition.envelope import Handler, Step
from orchestrator.definition.leaf_types import (
    Activity,
    AgentTask,
    ApiCall,
    Approval,
    Assign,
    ChildWorkflow,
    Fail,
    Finish,
    Transform,
    Wait,
    WaitForSignal,
)
from orchestrator.definition.parts import AtLeast, Budget, Durability, Part, Retry, Seconds, Tags, Timeouts, WorkflowId
from orchestrator.definition.tool_types import ToolCall
from orchestrator.definition.vector_types import VectorSearch, VectorUpsert

AnyStep = Annotated[
    AgentTask
    | ApiCall
    | Activity
    | Transform
    | Assign
    | Switch
    | Parallel
    | Foreach
    | Loop
    | Wait
    | WaitForSignal
    | Approval
    | ChildWorkflow
    | VectorSearch
    | VectorUpsert
    | ToolCall
    | Fail
    | Finish,
    Field(discriminator="step_type"),
]

STEP_TYPES: dict[str, type[Step]] = {
    "agent_task": AgentTask,
    "api_call": ApiCall,
    "activity": Activity,
    "transform": Transform,
    "assign": Assign,
    "switch": Switch,
    "parallel": Parallel,
    "foreach": Foreach,
    "loop": Loop,
    "wait": Wait,
    "wait_for_signal": WaitForSignal,
    "approval": Approval,
    "workflow": ChildWorkflow,
    "vector_search": VectorSearch,
    "vector_upsert": VectorUpsert,
    "tool_call": ToolCall,
    "fail": Fail,
    "finish": Finish,
}

_FORWARD = {"AnyStep": AnyStep}
_MODELS: tuple[type[Part], ...] = (Handler, Step, Case, Default, Branch, *STEP_TYPES.values())
for _model in _MODELS:
    _model.model_rebuild(force=True, _types_namespace=_FORWARD)


class Defaults(Part):
    """Policies of all steps; a step's own come first, the built-in ones last."""

    retry: Retry | None = None
    timeouts: Timeouts | None = None
    task_queue: str | None = Field(None, min_length=1, max_length=200)


class DocumentTimeouts(Part):
    """Deadlines of the whole execution."""

    execution_seconds: Seconds | None = Field(None, description="From start to end; then `execution-timeout`.")
    cleanup_seconds: Seconds | None = Field(None, description="For compensation and `on_failure`; 3,600 by default.")


class DocumentLimits(Part):
    """Bounds of one execution."""

    max_parallel_steps: int = Field(limits.MAX_PARALLEL_STEPS, ge=1, le=limits.MAX_PARALLEL_STEPS)
    budget: Budget | None = Field(None, description="What the execution and its children may spend.")


class Concurrency(Part):
    """How many executions may run at a time, for each value of a key."""

    key: str | None = Field(
        None, min_length=1, max_length=4_096, description="Template over `input`; absent: one key for the workflow."
    )
    max: int = Field(1, ge=1, le=limits.MOST_PLACES, description="Executions that run at a time under one key.")
    on_conflict: Literal["reject", "enqueue", "cancel_running"] = Field(
        "enqueue", description="What happens to a start that finds every place taken."
    )


class Webhook(Part):
    """How `POST /api/v1/hooks/{workflow_id}` starts executions."""

    secret: str = Field(pattern=limits.SECRET_NAME_PATTERN, description="Name of the secret that signs the requests.")
    scheme: Literal["standard", "github"] = Field(
        "standard", description="Standard Webhooks, or `X-Hub-Signature-256`."
    )
    headers: list[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")]] = Field(
        default_factory=list,
        max_length=20,
        description="Lower-case names; the input is then `{body, headers}`, else the body.",
    )


class EndScope(Part):
    """Steps that run after an execution failed or was cancelled."""

    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)


EndSteps = Annotated[list[AnyStep], Field(min_length=1, max_length=limits.STEPS)]


class DocumentHead(Part):
    """A workflow definition without its steps."""

    editor_schema: str | None = Field(
        None,
        alias="$schema",
        max_length=1000,
        description="For editors: where they find the schema; means nothing else.",
    )
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
    concurrency: Concurrency | None = None
    webhook: Webhook | None = Field(None, description="Lets signed requests start executions; absent: none may.")
    durability: Durability = Field("step", description="How completions are recorded; `express` is not available yet.")
    on_failure: EndScope | EndSteps | None = Field(
        None, description="Runs after compensation when the execution failed."
    )
    on_cancel: EndScope | EndSteps | None = Field(None, description="Runs after compensation when it was cancelled.")


class Document(DocumentHead):
    """One workflow definition."""

    steps: list[AnyStep] = Field(min_length=1, max_length=limits.STEPS)


__all__ = [
    "STEP_TYPES",
    "Activity",
    "AgentTask",
    "AnyStep",
    "ApiCall",
    "Approval",
    "Assign",
    "AtLeast",
    "ChildWorkflow",
    "Concurrency",
    "Defaults",
    "Document",
    "DocumentHead",
    "Fail",
    "Finish",
    "Foreach",
    "Handler",
    "Loop",
    "Parallel",
    "Retry",
    "Step",
    "Switch",
    "Timeouts",
    "ToolCall",
    "Transform",
    "VectorSearch",
    "VectorUpsert",
    "Wait",
    "WaitForSignal",
    "Webhook",
]
