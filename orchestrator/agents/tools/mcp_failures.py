"""From what goes wrong with an MCP server to a leaf of the error tree."""

from __future__ import annotations

from mcp import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from pydantic import ValidationError

from orchestrator.agents.tools.mcp_transport import NOT_MCP, REFUSED, UNREACHABLE
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import McpBadResponse, McpUnavailable, ToolFailed


def classified(name: str, error: BaseException) -> OrchestratorError:
    """Return the leaf for a failure of MCP server `name`."""
    if isinstance(error, OrchestratorError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return classified(name, error.exceptions[0])
    if isinstance(error, MCPError):
        return _of_code(name, error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        return McpBadResponse(f"MCP server '{name}' gave a malformed answer: {where}: {first['msg']}")
    if isinstance(error, OSError):
        return McpUnavailable(f"MCP server '{name}' cannot be started or reached: {error}")
    # The session checks a tool's structured content against the tool's output schema and says so by RuntimeError.
    return McpBadResponse(f"MCP server '{name}': {type(error).__name__}: {str(error)[:500]}")


def _of_code(name: str, error: MCPError) -> OrchestratorError:
    said = str(error.message)[:500]
    status = error.data.get("status") if isinstance(error.data, dict) else None
    details = {"mcp_server": name, "code": error.code}
    if error.code == REFUSED and isinstance(status, int):
        again = status in (408, 425, 429) or status >= 500
        hint = None if again else "check the server's URL and HEADERS in the worker's settings"
        return McpUnavailable(f"MCP server '{name}': {said}", hint=hint, details=details, retryable=again)
    if error.code in (CONNECTION_CLOSED, UNREACHABLE) or (error.code == INVALID_REQUEST and "terminated" in said):
        return McpUnavailable(f"the connection to MCP server '{name}' broke: {said}", details=details)
    if error.code == REQUEST_TIMEOUT:
        return AttemptTimeout(f"MCP server '{name}': {said}", details={"kind": "mcp", **details})
    if error.code in (PARSE_ERROR, NOT_MCP, UNSUPPORTED_PROTOCOL_VERSION) or "content type" in said:
        return McpBadResponse(f"MCP server '{name}' does not speak the protocol: {said}", details=details)
    again = error.code == INTERNAL_ERROR
    return ToolFailed(f"MCP server '{name}' refused: {said}", details=details, retryable=again)
