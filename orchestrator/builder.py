"""The Python way to write a workflow definition and run it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Self

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from orchestrator.agents import AgentFactory
from orchestrator.client import closed_view, connect, disconnect, start_execution
from orchestrator.definition import Validation, validate_definition
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors import InvalidDefinition, InvalidInput, TemporalUnavailable
from orchestrator.execution.messages import ExecutionView, StartExecution
from orchestrator.expressions.suggestions import suggest
from orchestrator.settings import Settings, discover_settings


class AgentWorkflowStepType(StrEnum):
    """The step types of the definition language."""

    AGENT_TASK = "agent_task"
    API_CALL = "api_call"
    ACTIVITY = "activity"
    TRANSFORM = "transform"
    ASSIGN = "assign"
    SWITCH = "switch"
    PARALLEL = "parallel"
    FOREACH = "foreach"
    LOOP = "loop"
    WAIT = "wait"
    WAIT_FOR_SIGNAL = "wait_for_signal"
    APPROVAL = "approval"
    WORKFLOW = "workflow"
    VECTOR_SEARCH = "vector_search"
    VECTOR_UPSERT = "vector_upsert"
    TOOL_CALL = "tool_call"
    FAIL = "fail"
    FINISH = "finish"


class AgentWorkflowStep:
    """One step of a workflow.

    Args:
        step_id: unique in the workflow.
        step_type: what it does.
        name: for people.
        depends_on: ids of the steps that it waits for.
        **fields: every other field of the step's type in the definition language (`agent_type`, `task`,
            `parameters`, `url`, `when`, `retry`, …). A name that Python keeps for itself has an underscore behind it
            (`as_`, `while_`). Where the language has steps inside (`steps`, `branches`, `cases`, `compensate`, …),
            they may be `AgentWorkflowStep`s as well.

    Raises:
        ValueError: there is no such step type; the message names the nearest.
    """

    def __init__(
        self,
        step_id: str,
        step_type: AgentWorkflowStepType | str,
        name: str | None = None,
        *,
        depends_on: Iterable[str] = (),
        **fields: Any,
    ) -> None:
        self.step_id = step_id
        self.step_type = _known_type(step_id, step_type)
        self.name = name
        self.depends_on = list(depends_on)
        self.fields = {key.removesuffix("_"): value for key, value in fields.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the step as the definition language writes it."""
        step: dict[str, Any] = {"step_id": self.step_id, "step_type": self.step_type.value}
        if self.name is not None:
            step["name"] = self.name
        if self.depends_on:
            step["depends_on"] = self.depends_on
        return step | {key: _plain(value) for key, value in self.fields.items()}


def _known_type(step_id: str, step_type: str) -> AgentWorkflowStepType:
    try:
        return AgentWorkflowStepType(step_type)
    except ValueError:
        near = suggest(str(step_type), list(AgentWorkflowStepType))
        hint = f"did you mean '{near}'?" if near else f"one of: {', '.join(AgentWorkflowStepType)}"
        raise ValueError(f"step '{step_id}': no step type '{step_type}'; {hint}") from None


def _plain(value: Any) -> Any:
    """Return a field's value with the steps in it as the definition language writes them."""
    if isinstance(value, AgentWorkflowStep):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


class AgentWorkflow:
    """A workflow definition under construction, which can run itself.

    Args:
        workflow_id: the definition's id; derived from `name` when None.
        name: for people.
        agent_factory: checks that the agents exist before a run; None leaves that to the run.
        settings: where Temporal is; None: the environment, `.env`, or the local stack that runs in this folder.
        **fields: every other field of the document (`description`, `input_schema`, `output`, `defaults`, …).
    """

    def __init__(
        self,
        workflow_id: str | None = None,
        name: str | None = None,
        agent_factory: AgentFactory | None = None,
        *,
        settings: Settings | None = None,
        **fields: Any,
    ) -> None:
        self._head = {"workflow_id": workflow_id, "name": name}
        self._fields = {key.removesuffix("_"): value for key, value in fields.items()}
        self._agent_factory = agent_factory
        self._settings = settings
        self._steps: list[AgentWorkflowStep] = []

    def add_step(self, step: AgentWorkflowStep) -> Self:
        """Add a step; returns the workflow, so that calls can be chained."""
        self._steps.append(step)
        return self

    @property
    def definition(self) -> dict[str, Any]:
        """The definition as JSON, ready for `POST /api/v1/workflows/`.

        Raises:
            TypeError: a field holds what JSON does not know, such as a date.
            ValueError: a number is not finite.
        """
        head = {key: value for key, value in self._head.items() if value is not None}
        document = _plain(head | self._fields | {"steps": self._steps})
        plain: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
        return plain

    async def validate(self) -> Validation:
        """Return everything that is wrong or doubtful; the agents are checked where there is a factory."""
        known = None
        if self._agent_factory is not None:
            known = await self._agent_factory.known_types()
        return validate_definition(self.definition, known_agents=known)

    async def start(
        self, input_data: Any = None, *, client: Client | None = None, execution_id: str | None = None
    ) -> WorkflowHandle[object, ExecutionView]:
        """Start one execution with this definition pinned into it; the definition need not be stored.

        Args:
            input_data: any JSON value; `{}` when None.
            client: a connected Temporal client; None connects by the settings, and the handle's client is then the
                caller's to close with `orchestrator.client.disconnect`.
            execution_id: chosen by the caller; a new one if None.

        Raises:
            InvalidDefinition: the definition breaks a rule; `issues` holds every one.
            InvalidInput: the input does not satisfy `input_schema`.
            TemporalUnavailable: Temporal does not answer.
        """
        settings = self._settings or discover_settings()
        validation = await self.validate()
        if not validation.valid:
            raise InvalidDefinition.because(validation.errors)
        value = {} if input_data is None else input_data
        schema = validation.document.get("input_schema")
        issues = value_issues(schema, value, "/input_data") if schema is not None else []
        if issues:
            raise InvalidInput(f"invalid input: {issues[0].pointer}: {issues[0].message}", issues=issues)
        start = StartExecution(
            workflow_id=validation.document["workflow_id"],
            definition=validation.document,
            sha256=validation.sha256,
            input=value,
        )
        try:
            return await start_execution(client or await connect(settings), settings, start, execution_id=execution_id)
        except RPCError as error:
            raise TemporalUnavailable(f"Temporal refused the start: {error.message}") from error

    async def execute(
        self, input_data: Any = None, *, client: Client | None = None, execution_id: str | None = None
    ) -> ExecutionView:
        """Run one execution to its end; a worker must be running (`make up` or `orchestrator worker`).

        Returns:
            The envelope of every closed status: look at `status`, `output`, `error`, `steps`.

        Raises:
            As `start`.
        """
        connected = client or await connect(self._settings or discover_settings())
        try:
            handle = await self.start(input_data, client=connected, execution_id=execution_id)
            return await handle.result()
        except WorkflowFailureError as error:
            return await closed_view(handle, error)
        finally:
            if client is None:
                await disconnect(connected)
