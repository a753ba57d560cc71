"""How steps begin: what each type does once its join is met."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from orchestrator.definition.compiled import CompiledStep
from orchestrator.definition.models import (
    AgentTask,
    Approval,
    Assign,
    ChildWorkflow,
    Fail,
    Finish,
    Transform,
    Wait,
    WaitForSignal,
)
from orchestrator.execution.agent_loops import AgentLoops
from orchestrator.execution.agent_tools import CLAIMED_BYTES
from orchestrator.execution.blocks import Blocks
from orchestrator.execution.calls import step_call
from orchestrator.execution.children import Children
from orchestrator.execution.clock import iso
from orchestrator.execution.commands import ScheduleActivity
from orchestrator.execution.ending import Ending
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.error_bounds import OWN_DETAILS_BYTES, bounded_details, cut_text
from orchestrator.execution.errors import PayloadTooLarge
from orchestrator.execution.live_data import json_bytes
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.messages_secrets import SecretSlot
from orchestrator.execution.paths import activity_id
from orchestrator.execution.ready_queue import Takes
from orchestrator.execution.requests import build_request
from orchestrator.execution.steps import CHILDREN_TRIED, StepEnds
from orchestrator.execution.waiting import Waits

FOREIGN_BYTES = CLAIMED_BYTES - 1024
"""What arguments for another task queue may take as JSON: with their metadata, less than is kept outside."""
FOREIGN_INLINE = "foreign-inline"
"""Before this rule large arguments went to the claim store, which workers of other queues cannot read."""
_WAITS = (Wait, WaitForSignal, Approval)
_TAKES_NOTHING = (Transform, Assign, Fail, Finish, *_WAITS)


def takes(step: CompiledStep) -> Takes | None:
    """Say what a step takes when it begins: an activity, a child, or nothing that there could be too many of."""
    if step.is_block or isinstance(step.model, _TAKES_NOTHING):
        return None
    return "child" if isinstance(step.model, ChildWorkflow) else "activity"


class Beginnings:
    """Begins steps.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
        blocks: begins steps that hold scopes.
        waits: begins steps that wait.
        children: begins child executions.
        agents: begins agents' loops.
        ending: ends the execution, for `finish`.
    """

    def __init__(
        self,
        engine: Engine,
        ends: StepEnds,
        blocks: Blocks,
        waits: Waits,
        children: Children,
        agents: AgentLoops,
        ending: Ending,
    ) -> None:
        self._engine = engine
        self._ends = ends
        self._blocks = blocks
        self._waits = waits
        self._children = children
        self._agents = agents
        self._ending = ending

    def begin(self, place: Place) -> None:
        """Begin a step whose join is met: its condition, its inputs, then what its type does.

        Raises:
            ExpressionError: `when` or an input failed.
            OrchestratorError: a field came out wrong.
        """
        step, record, evaluator = place.step, place.record, self._engine.evaluator
        if record.started_at is None and not evaluator.condition(step.when, place.run.state):
            self._engine.settle(place, "skipped")
            return
        record.state = "running"
        record.started_at = record.started_at or iso(self._engine.now)
        record.error = None
        self._engine.observed(place.run, step.step_id)
        fields: dict[str, Any] = {}
        secrets: list[SecretSlot] = []
        for name, field in step.inputs.items():
            fields[name], slots = evaluator.render_field(name, field, place.run.state)
            secrets += slots
        if step.is_block:
            self._begin_block(place, fields)
        else:
            self._begin_leaf(place, fields, secrets)

    def go_on(self, place: Place) -> None:
        """Go on with a block of a recovered position.

        Raises:
            ExpressionError: a condition failed.
        """
        self._start_whole_timer(place)
        self._blocks.go_on(place)

    def _begin_block(self, place: Place, fields: dict[str, Any]) -> None:
        self._start_whole_timer(place)
        self._blocks.begin(place, fields)

    def _start_whole_timer(self, place: Place) -> None:
        """Bound all tries of a block or a child by its own `schedule_to_close_seconds`."""
        own = place.step.model.timeouts
        if own is not None and own.schedule_to_close_seconds and f"{place.path}~block" not in self._engine.state.timers:
            self._engine.start_timer(
                "block", place, own.schedule_to_close_seconds, f"{place.step.model.label}: time-out"
            )

    def _begin_leaf(self, place: Place, fields: dict[str, Any], secrets: list[SecretSlot]) -> None:
        model = place.step.model
        if isinstance(model, Transform):
            self._ends.complete(place, fields.get("value"))
        elif isinstance(model, Assign):
            size = json_bytes(fields["values"])
            # Once as variables, once as the step's output.
            self._engine.data.require_room(place.path, 2 * size)
            self._ends.assign(place, fields["values"])
            self._ends.complete(place, fields["values"], size)
        elif isinstance(model, Fail):
            self._ends.fail(place, _own_error(place.path, model, fields))
        elif isinstance(model, Finish):
            self._finish(place, fields.get("value"))
        elif isinstance(model, ChildWorkflow):
            if model.timeouts is not None and self._engine.patched(CHILDREN_TRIED):
                self._start_whole_timer(place)
            self._children.begin(place, model, fields)
        elif isinstance(model, AgentTask):
            self._agents.begin(place, model, fields)
        elif isinstance(model, _WAITS):
            self._waits.begin(place, fields)
        else:
            self._schedule(place, fields, secrets)

    def _finish(self, place: Place, value: Any) -> None:
        """End the execution before the end of this step can make its scope conclude."""
        if self._engine.state.phase == "cleaning":
            # The outcome is decided: cleanup never changes it, and must not wait for an end that has come already.
            self._ends.complete(place, value)
            return
        if place.step.output is not None:
            value = self._engine.evaluator.render(place.step.output, place.run.state, result=value)
        place.record.output = value
        self._engine.settle_only(place, "completed")
        self._ending.finish(value)

    def _schedule(self, place: Place, fields: dict[str, Any], secrets: list[SecretSlot]) -> None:
        step, scope = place.step, place.run.state
        request = build_request(step, step_call(self._engine.state, place), fields, secrets)
        size = len(to_json(request.arguments))
        foreign = request.result_type is None and step.task_queue is not None
        if foreign and size > FOREIGN_BYTES and self._engine.patched(FOREIGN_INLINE):
            raise _too_large(step, place.path, size)
        tries = scope.tries + place.record.retried
        identifier = activity_id(place.path, f"#{tries}" if tries else "")
        place.record.activity_id = identifier
        self._engine.in_flight[identifier] = (place.run.scope_id, step.step_id)
        self._engine.payload_bytes += min(size, CLAIMED_BYTES)
        self._engine.commands.append(
            ScheduleActivity(
                activity_id=identifier,
                activity=request.activity,
                arguments=request.arguments,
                result_type=request.result_type,
                retry=step.retry,
                timeouts=step.timeouts,
                summary=step.model.label,
                task_queue=step.task_queue,
                priority=step.model.priority,
                heartbeat=step.model.timeouts.heartbeat_seconds if step.model.timeouts else None,
            )
        )


def _too_large(step: CompiledStep, path: str, size: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"step '{path}': the arguments take {size:,} bytes as JSON; "
        f"{FOREIGN_BYTES:,} are allowed on the task queue '{step.task_queue}'",
        details={"bytes": size, "limit_bytes": FOREIGN_BYTES},
        hint="keep large values elsewhere (a bucket, a database) and pass a reference to them",
    )


def _own_error(path: str, model: Fail, fields: dict[str, Any]) -> ErrorInfo:
    """Return the error of a `fail` step."""
    details = fields.get("details", {})
    shown = details if isinstance(details, dict) else {"value": details}
    message = cut_text(str(fields.get("message", model.message)))
    bounded = bounded_details(shown, OWN_DETAILS_BYTES)
    return ErrorInfo(type=model.error_type, message=message, step=path, details=bounded)
