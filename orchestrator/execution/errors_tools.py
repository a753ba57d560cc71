"""The leaves of the error tree that speak of tools."""

from __future__ import annotations

from orchestrator.execution.errors import Conflict, NotFound, RequestError
from orchestrator.execution.errors_steps import StepFailure


class InvalidTool(RequestError):
    """A tool record breaks a rule; `issues` holds every one."""

    code = "invalid-tool"
    title = "Invalid tool record"


class ToolExists(Conflict):
    """A tool with this name exists."""

    code = "tool-exists"
    title = "Tool exists"


class ToolNotFound(NotFound):
    """No tool has this name."""

    code = "tool-not-found"
    title = "Tool not found"


class McpServerNotFound(NotFound):
    """The worker's settings name no such MCP server."""

    code = "mcp-server-not-found"
    title = "MCP server not found"


class ToolNotAllowed(StepFailure):
    """The agent's record does not list the tool."""

    code = "tool-not-allowed"
    title = "Tool not allowed"


class ToolNotCallable(StepFailure):
    """The tool runs as a child execution, which only a `workflow` step or an agent can start."""

    code = "tool-not-callable"
    title = "Tool not callable"


class InvalidToolArguments(StepFailure):
    """The arguments break the tool's schema; `details.errors` lists why."""

    code = "invalid-tool-arguments"
    title = "Invalid tool arguments"


class ToolFailed(StepFailure):
    """The tool said that it failed, or raised what it did not classify."""

    code = "tool-failed"
    title = "Tool failed"


class ToolBadResult(StepFailure):
    """The tool returned what is not JSON, or too much of it."""

    code = "tool-bad-result"
    title = "Unusable tool result"


class ToolListChanged(StepFailure):
    """The tool is gone or has another description or schema than the model was offered."""

    code = "tool-list-changed"
    title = "Tool list changed"


class McpUnavailable(StepFailure):
    """The MCP server cannot be started or reached, or its connection broke."""

    code = "mcp-unavailable"
    title = "MCP server unavailable"
    retryable = True


class McpBadResponse(StepFailure):
    """The MCP server does not speak the protocol."""

    code = "mcp-bad-response"
    title = "Malformed MCP response"
    retryable = True
