"""The step type that calls a tool."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from orchestrator.definition.envelope import Step


class ToolCall(Step):
    """Calls one tool: built-in, declared, in Python, or of an MCP server."""

    templates: ClassVar[tuple[str, ...]] = ("arguments",)

    step_type: Literal["tool_call"]
    tool: str = Field(
        min_length=1, max_length=128, description="The tool's name; a workflow tool is a `workflow` step."
    )
    mcp_server: str | None = Field(
        None, min_length=1, max_length=64, description="The MCP server whose tool it is, by its name in the settings."
    )
    arguments: dict[str, Any] | str = Field(
        default_factory=dict, description="Template; an object that satisfies the tool's schema."
    )
