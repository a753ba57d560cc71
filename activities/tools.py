"""The activities about tools: one call of one tool, and what this worker can call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities.models import attempt_seconds
from activities.step_activity import step_activity
from orchestrator.agents.factory import AgentFactory
from orchestrator.agents.tools import ToolContext, ToolSpec
from orchestrator.agents.tools.mcp_tools import McpServerReport
from orchestrator.agents.tools.opening import OpenTools
from orchestrator.execution.messages_agents import CallToolInput, CallToolResult
from orchestrator.execution.messages_tools import DescribeToolsResult, McpServerView, ToolView
from orchestrator.execution.tool_outcomes import shortened

PATIENCE_SECONDS = 4.0
"""How long MCP servers may take to list their tools for the API."""


@dataclass(frozen=True, slots=True)
class _Allowed:
    """An agent's allow-list, as its pinned record has it."""

    agent_type: str
    tools: Sequence[str]
    mcp_servers: Sequence[str]


class ToolActivities:
    """Calls tools for steps and for agents; the record of an agent decides which.

    Args:
        tools: the worker's tools.
        factory: knows the agents' records.
    """

    def __init__(self, tools: OpenTools, factory: AgentFactory) -> None:
        self._tools = tools
        self._factory = factory

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.call_tool, self.describe_tools]

    @step_activity("call_tool")
    async def call_tool(self, request: CallToolInput) -> CallToolResult:
        """Call a tool once; every attempt carries the same idempotency key.

        Raises:
            ToolNotFound: no such tool; not tried again.
            ToolNotAllowed: the agent's record does not list it.
            ToolListChanged: it is not the tool that the model was offered.
            InvalidToolArguments: the arguments break its schema.
            StepFailure: what the call ended in, classified.
            CircuitOpen: its MCP server failed too often lately; the attempt is parked.
        """
        if request.agent_type is not None:
            await self._check_allowed(request, request.agent_type)
        context = ToolContext(
            execution_id=request.call.execution_id,
            step_path=request.call.path,
            idempotency_key=request.call.idempotency_key,
            timeout_seconds=attempt_seconds(),
            agent_type=request.agent_type,
        )
        output = await self._tools.toolbox.call(
            request.tool,
            {} if request.arguments is None else request.arguments,
            context=context,
            mcp_server=request.mcp_server,
            offered_sha256=request.tools_sha256,
        )
        # What no model will see need not be kept in the history, nor in the execution's memory.
        return CallToolResult(output=output if request.agent_type is None else shortened(output))

    @activity.defn(name="describe_tools")
    async def describe_tools(self) -> DescribeToolsResult:
        """Say what this worker can call besides the declared tools; not a step, so without the step wrapper."""
        reports = await self._tools.mcp.report(patience_seconds=PATIENCE_SECONDS)
        found = {spec.name: spec for report in reports for spec in report.tools}
        for source in reversed(self._tools.local):
            found |= {spec.name: spec for spec in await source.list()}
        return DescribeToolsResult(
            tools=[_view(found[name]) for name in sorted(found)], mcp_servers=[_server(report) for report in reports]
        )

    async def _check_allowed(self, request: CallToolInput, agent_type: str) -> None:
        entry = await self._factory.get(agent_type, request.agent_version)
        record = entry.record or {}
        allowed = _Allowed(agent_type, record.get("tools") or (), record.get("mcp_servers") or ())
        await self._tools.toolbox.check_allowed(allowed, request.tool, request.mcp_server)


def _view(spec: ToolSpec) -> ToolView:
    return ToolView(
        name=spec.name,
        source=spec.kind,
        description=spec.description,
        parameters=dict(spec.parameters),
        requires_approval=spec.requires_approval,
        sha256=spec.sha256,
        workflow_id=spec.workflow_id,
        workflow_version=spec.version,
        mcp_server=spec.mcp_server,
        mcp_tool=spec.mcp_tool,
    )


def _server(report: McpServerReport) -> McpServerView:
    error = report.error
    return McpServerView(
        name=report.name,
        transport=report.transport,
        healthy=error is None,
        tools=len(report.tools),
        error=None if error is None else {"type": error.code, "message": error.message, "hint": error.hint},
    )
