"""Tools as the API takes and shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages_tools import McpServerView
from orchestrator.stores.versioned import StoredVersion

RATE: dict[str, Any] = {
    "name": "exchange_rate",
    "description": "The exchange rate between two currencies, by their ISO codes.",
    "parameters": {
        "type": "object",
        "properties": {"base": {"type": "string"}, "quote": {"type": "string"}},
        "required": ["base", "quote"],
    },
    "http": {
        "url": "https://rates.example.com/v1/{{ arguments.base }}",
        "query": {"quote": "{{ arguments.quote }}"},
        "output": {"rate": "{{ response.body.rate }}"},
    },
}


class ToolDocument(BaseModel):
    """One declared tool."""

    name: str = Field(examples=["exchange_rate"])
    version: int
    sha256: str
    record: dict[str, Any] = Field(examples=[RATE])
    created_at: str
    updated_at: str
    deleted: bool

    @classmethod
    def of(cls, stored: StoredVersion) -> ToolDocument:
        """Return the document of a stored version."""
        return cls(
            name=stored.id,
            version=stored.version,
            sha256=stored.sha256,
            record=stored.document,
            created_at=stored.created_at.isoformat().replace("+00:00", "Z"),
            updated_at=stored.updated_at.isoformat().replace("+00:00", "Z"),
            deleted=stored.deleted,
        )


class ToolItem(BaseModel):
    """One tool that steps and agents may call."""

    name: str = Field(examples=["exchange_rate"])
    source: Literal["builtin", "http", "python", "mcp", "workflow"]
    description: str
    parameters: dict[str, Any] = Field(description="JSON Schema of the arguments")
    requires_approval: bool
    sha256: str = Field(description="of name, description and schema, as a model is offered them")
    version: int | None = Field(None, description="of a declared tool; null for others")
    workflow_id: str | None = None
    workflow_version: int | None = None
    mcp_server: str | None = None
    mcp_tool: str | None = Field(None, description="its own name on that server")


class ToolPage(BaseModel):
    """Tools in the order of their names, and how the MCP servers do."""

    items: list[ToolItem]
    mcp_servers: list[McpServerView] = Field(description="as the worker that answered sees them")
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
