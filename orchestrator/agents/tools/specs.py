"""What a tool is to a model and to its callers, and where tools come from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from orchestrator.definition.canonical import canonical_sha256
from orchestrator.definition.schemas import value_issues

TOOL_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
"""What OpenAI's protocol takes as the name of a function."""
ToolKind = Literal["builtin", "http", "python", "mcp", "workflow"]
SHOWN_ERRORS = 10


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool as a model is offered it.

    Attributes:
        name: what the model sees; matches `TOOL_NAME_PATTERN`.
        parameters: JSON Schema 2020-12 of the arguments, an object.
        requires_approval: people must agree to every call that a model asks for.
        workflow_id: of a `workflow` tool: a child execution of this workflow; a toolbox never calls it.
        version: of that workflow; None: the latest.
        mcp_server: of an `mcp` tool: the server's name in the settings.
        mcp_tool: of an `mcp` tool: its own name on that server.
        timeout_seconds: what one call may take; None: as long as who calls it gives it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    kind: ToolKind
    requires_approval: bool = False
    workflow_id: str | None = None
    version: int | None = None
    mcp_server: str | None = None
    mcp_tool: str | None = None
    timeout_seconds: float | None = None

    @property
    def sha256(self) -> str:
        """The hash of what a model knows of the tool: name, description, schema."""
        return canonical_sha256(self.as_function())

    def as_function(self) -> dict[str, Any]:
        """Return the tool as OpenAI's protocol names its parts."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    def with_approval(self) -> ToolSpec:
        """Return the tool as one whose calls need approval."""
        return replace(self, requires_approval=True)


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools that an agent may call now; `sha256` pins names, descriptions and schemas."""

    tools: tuple[ToolSpec, ...]
    sha256: str

    @classmethod
    def of(cls, tools: Sequence[ToolSpec]) -> ToolOffer:
        """Return the offer of these tools, in their order."""
        return cls(tuple(tools), canonical_sha256([tool.as_function() for tool in tools]))

    def find(self, name: str) -> ToolSpec | None:
        """Return the tool that a model means by a name."""
        return next((tool for tool in self.tools if tool.name == name), None)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who calls a tool.

    Attributes:
        idempotency_key: the same for every attempt of the call.
        timeout_seconds: the time that this attempt has.
        agent_type: of the agent whose model asked; None in a `tool_call` step.
    """

    execution_id: str
    step_path: str
    idempotency_key: str
    timeout_seconds: float
    agent_type: str | None = None


class ToolUser(Protocol):
    """What a toolbox reads of an agent's record."""

    @property
    def agent_type(self) -> str:
        """The agent."""

    @property
    def tools(self) -> Sequence[str]:
        """Names of the tools that it may call."""

    @property
    def mcp_servers(self) -> Sequence[str]:
        """MCP servers, all of whose tools it may call."""


class ToolSource(Protocol):
    """One kind of tools."""

    async def find(self, name: str) -> ToolSpec | None:
        """Return the tool of this name, None where the source has none."""

    async def list(self) -> Sequence[ToolSpec]:
        """Return all tools of the source, by name."""

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Call a tool with arguments that satisfy its schema; the result is any JSON value.

        Raises:
            OrchestratorError: a leaf of the tree.
        """


def argument_errors(spec: ToolSpec, arguments: Any) -> list[str]:
    """Return how arguments break a tool's schema, each with its JSON pointer; empty where they satisfy it."""
    if not isinstance(arguments, Mapping):
        return ["/: the arguments are one JSON object"]
    try:
        issues = value_issues(dict(spec.parameters), arguments)
    except ValueError as error:
        return [f"/: the tool's schema cannot be used: {error}"]
    except TypeError as error:
        return [f"/: the arguments are not JSON: {error}"]
    return [f"{issue.pointer or '/'}: {issue.message}" for issue in issues[:SHOWN_ERRORS]]


async def argument_errors_in_thread(spec: ToolSpec, arguments: Any) -> list[str]:
    """As `argument_errors`, off the event loop: an operator's pattern may take long over a large text."""
    return await asyncio.to_thread(argument_errors, spec, arguments)
