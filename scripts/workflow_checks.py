"""What `scripts.test_agent_workflow` checks on a running service, one function for each group of claims."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from orchestrator.agents import agent_factory
from orchestrator.builder import AgentWorkflow, AgentWorkflowStep, AgentWorkflowStepType
from orchestrator.client import closed_view, new_execution_id
from orchestrator.definition.schemas import schema_issues, value_issues
from orchestrator.execution.errors import InvalidDefinition
from orchestrator.execution.messages import ExecutionView
from orchestrator.settings import Settings
from scripts.workflow_check_report import Report

LEAD = {
    "lead": {
        "name": "Acme Corp",
        "email": "contact@acmecorp.com",
        "website": "https://acmecorp.com",
        "budget": 50000,
        "timeframe": "Q3 2023",
        "requirements": "AI solution for customer support",
    }
}
TASKS = {"sales": "qualify_lead", "research": "enrich_lead"}
CANCEL_SECONDS = 5.0
LONGEST_SECONDS = 300.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Service:
    """The running service: Temporal by its client, the API by HTTP (`/api/v1`)."""

    settings: Settings
    client: Client
    api: httpx2.AsyncClient
    report: Report

    def workflow(self, name: str, **fields: Any) -> AgentWorkflow:
        """Begin a definition."""
        return AgentWorkflow(name=name, agent_factory=agent_factory, settings=self.settings, **fields)

    async def execute(self, workflow: AgentWorkflow, value: Any) -> tuple[str, ExecutionView]:
        """Run a workflow to its end and keep it in the log."""
        execution_id = new_execution_id()
        async with asyncio.timeout(LONGEST_SECONDS):
            view = await workflow.execute(value, client=self.client, execution_id=execution_id)
        self.report.execution(execution_id, view)
        return execution_id, view

    async def end_of(self, handle: WorkflowHandle[object, ExecutionView]) -> ExecutionView:
        """Wait for the end of a started execution and keep it in the log."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                view = await handle.result()
        except WorkflowFailureError as error:
            view = await closed_view(handle, error)
        self.report.execution(handle.id, view)
        return view

    async def document(self, execution_id: str) -> dict[str, Any]:
        """Read an execution over REST."""
        answer = await self.api.get(f"/executions/{execution_id}")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def status_becomes(self, execution_id: str, status: str, seconds: float) -> str:
        """Wait for a status over REST; gives the last one seen."""
        seen = ""
        for _ in range(int(seconds / POLL_SECONDS)):
            seen = str((await self.document(execution_id))["status"])
            if seen == status:
                break
            await asyncio.sleep(POLL_SECONDS)
        return seen


def lead_workflow(service: Service) -> AgentWorkflow:
    """The lead workflow, with an output that shows both answers."""
    workflow = service.workflow(
        "Lead Processing Workflow",
        workflow_id="lead_processing",
        output={task: f"{{{{ steps.{task}.output }}}}" for task in TASKS.values()},
    )
    workflow.add_step(
        AgentWorkflowStep(
            step_id="qualify_lead",
            name="Qualify Lead",
            step_type=AgentWorkflowStepType.AGENT_TASK,
            agent_type="sales",
            task="qualify_lead",
            parameters={"priority": "high"},
        )
    )
    workflow.add_step(
        AgentWorkflowStep(
            step_id="enrich_lead",
            name="Enrich Lead Data",
            step_type=AgentWorkflowStepType.AGENT_TASK,
            agent_type="research",
            task="enrich_lead",
            depends_on=["qualify_lead"],
        )
    )
    return workflow


async def check_agents(service: Service) -> None:
    """The agents are registered, their schemas are schemas, and they are healthy."""
    for agent_type, task in TASKS.items():
        entry = await agent_factory.get(agent_type)
        tasks = (entry.record or {}).get("tasks", {})
        service.report.expect(
            task in tasks, f"agent '{agent_type}' is registered and knows task '{task}'", sorted(tasks)
        )
        issues = schema_issues(tasks[task]["output_schema"])
        service.report.expect(not issues, f"the output schema of task '{task}' is a JSON Schema", issues)
        health = await agent_factory.health(agent_type)
        claim = f"agent '{agent_type}' is healthy, with a worker that can run it"
        service.report.expect(health.status == "healthy" and health.workers > 0, claim, health.reason or health.status)


async def check_lead(service: Service) -> None:
    """The lead workflow completes, in order, with answers that satisfy their schemas."""
    report, workflow = service.report, lead_workflow(service)
    validation = await workflow.validate()
    report.expect(validation.valid, "the definition is valid", [issue.to_dict() for issue in validation.errors])
    execution_id, view = await service.execute(workflow, LEAD)
    report.expect(view.status == "completed", f"execution {execution_id} completed", view.error or view.status)
    states = {step.step_id: step.state for step in view.steps}
    report.expect(states == dict.fromkeys(TASKS.values(), "completed"), "both steps completed", states)
    times = {step.step_id: (step.started_at or "", step.finished_at or "") for step in view.steps}
    in_order = times["qualify_lead"][1] <= times["enrich_lead"][0]
    report.expect(in_order, "enrich_lead began after qualify_lead had finished", times)
    report.expect(all(step.attempts >= 1 for step in view.steps), "every step counted its attempts")
    report.expect(view.input == LEAD, "the execution kept its input", view.input)
    for agent_type, task in TASKS.items():
        schema = ((await agent_factory.get(agent_type)).record or {})["tasks"][task]["output_schema"]
        answer = (view.output or {}).get(task)
        issues = value_issues(schema, answer)
        report.expect(not issues, f"the answer of '{task}' satisfies its schema", issues)
        report.say(f"    {task}: {answer}")
    document = await service.document(execution_id)
    same = (document["status"], document["output"]) == (view.status, view.output)
    report.expect(same, "the API shows the same execution", document["status"])


async def check_conditions(service: Service) -> None:
    """Conditions skip, transforms compute, and lenient reads of a skipped step give their default."""
    workflow = service.workflow("Conditions check")
    rich = AgentWorkflowStep("rich", AgentWorkflowStepType.TRANSFORM, when="input.budget > 10000", value="call")
    poor = AgentWorkflowStep("poor", AgentWorkflowStepType.TRANSFORM, when="input.budget <= 10000", value="mail")
    choice = "{{ steps.rich.output ?? steps.poor.output ?? null }}"
    workflow.add_step(rich).add_step(poor).add_step(AgentWorkflowStep("chosen", "transform", value=choice))
    _, view = await service.execute(workflow, {"budget": 50000})
    states = {step.step_id: step.state for step in view.steps}
    expected = {"rich": "completed", "poor": "skipped", "chosen": "completed"}
    service.report.expect(states == expected, "the step whose condition is false was skipped, the others ran", states)
    service.report.expect(view.output == {"chosen": "call"}, "the output is the chosen branch's", view.output)


async def check_failure(service: Service) -> None:
    """A failing step fails the execution with an error that names it."""
    workflow = service.workflow("Failure check")
    workflow.add_step(AgentWorkflowStep("broken", "transform", value="{{ input.lead.nmae }}"))
    workflow.add_step(AgentWorkflowStep("after", "transform", value=1, depends_on=["broken"]))
    _, view = await service.execute(workflow, {"lead": {"name": "Acme Corp"}})
    service.report.expect(view.status == "failed", "an execution whose step fails is failed", view.status)
    step = view.error.step if view.error else None
    service.report.expect(step == "broken", "its error names the step", view.error)
    states = {step.step_id: step.state for step in view.steps}
    service.report.expect(states == {"broken": "failed", "after": "cancelled"}, "the step after it never ran", states)


async def check_refusal(service: Service) -> None:
    """A faulty definition is refused before anything starts, with every error at once."""
    workflow = service.workflow("Refusal check")
    workflow.add_step(AgentWorkflowStep("a", "agent_task", agent_type="salse", task="qualify_lead", depends_on=["b"]))
    workflow.add_step(AgentWorkflowStep("b", "transform", value="{{ 1 + }}", depends_on=["a"]))
    workflow.add_step(AgentWorkflowStep("c", "wait", seconds=1, depends_on=["nobody"], retrry={}))
    execution_id = new_execution_id()
    pointers: set[str] = set()
    try:
        await workflow.start({}, client=service.client, execution_id=execution_id)
    except InvalidDefinition as error:
        pointers = {issue.pointer for issue in error.issues}
    for pointer, fault in {
        "/steps/0/agent_type": "an unknown agent",
        "/steps/0/depends_on": "a cycle",
        "/steps/1/value": "an expression that does not parse",
        "/steps/2/depends_on/0": "an unknown step",
        "/steps/2/retrry": "an unknown field",
    }.items():
        service.report.expect(pointer in pointers, f"{fault} is refused at {pointer}", sorted(pointers))
    answer = await service.api.get(f"/executions/{execution_id}")
    service.report.expect(answer.status_code == 404, "nothing was started", answer.status_code)


async def check_pause(service: Service) -> None:
    """A paused execution starts no step; resume lets it go on to its end."""
    workflow = service.workflow("Pause check")
    workflow.add_step(AgentWorkflowStep("first", "wait", seconds=1))
    workflow.add_step(AgentWorkflowStep("second", "transform", value="done", depends_on=["first"]))
    handle = await workflow.start(client=service.client)
    await _act(service, handle.id, "pause", "a check")
    seen = await service.status_becomes(handle.id, "paused", 10)
    service.report.expect(seen == "paused", "the API shows the execution as paused", seen)
    # Longer than the first step would take.
    await asyncio.sleep(1.5)
    states = {step["step_id"]: step["state"] for step in (await service.document(handle.id))["steps"]}
    service.report.expect(states["second"] == "pending", "the second step is held", states)
    await _act(service, handle.id, "resume", "")
    view = await service.end_of(handle)
    service.report.expect(view.output == {"second": "done"}, "resume runs it to the end", view.error or view.output)


async def check_cancel(service: Service) -> None:
    """A cancelled execution ends soon, as cancelled, for the API and for Temporal."""
    workflow = service.workflow("Cancel check")
    workflow.add_step(AgentWorkflowStep("endless", "wait", seconds=3600))
    handle = await workflow.start(client=service.client)
    began = time.monotonic()
    await _act(service, handle.id, "cancel", "a check")
    seen = await service.status_becomes(handle.id, "cancelled", CANCEL_SECONDS)
    took = time.monotonic() - began
    service.report.expect(seen == "cancelled", f"the execution was cancelled within {CANCEL_SECONDS:g} s", seen)
    service.report.say(f"    it took {took:.2f} s")
    await service.end_of(handle)
    status = (await handle.describe()).status
    name = status.name if status else "unknown"
    service.report.expect(name == "CANCELED", "Temporal closed it as Canceled", name)


async def _act(service: Service, execution_id: str, action: str, reason: str) -> None:
    answer = await service.api.post(f"/executions/{execution_id}/{action}", json={"reason": reason})
    service.report.expect(answer.status_code == 202, f"the API accepts {action}", answer.text)


CHECKS: dict[str, Callable[[Service], Awaitable[None]]] = {
    "Agents": check_agents,
    "Lead workflow": check_lead,
    "Conditions": check_conditions,
    "Failure": check_failure,
    "Faulty definition": check_refusal,
    "Pause and resume": check_pause,
    "Cancel": check_cancel,
}
