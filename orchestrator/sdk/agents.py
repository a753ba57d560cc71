"""Agents, tools, sessions, collections, circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.sdk.calls import Call, delete, fields, get, keyed, path, post, put
from orchestrator.sdk.documents import (
    AgentDocument,
    AgentHealthReport,
    AgentPage,
    AgentVersion,
    AgentVersions,
    BreakerDocument,
    BreakerList,
    CollectionPage,
    CollectionView,
    ExecutionDocument,
    SessionDocument,
    ToolDocument,
    ToolItem,
    ToolPage,
)
from orchestrator.sdk.methods import Operation, items_of


class AgentOperations:
    """What agent tasks are asked of, and what agents use."""

    @Operation
    def list_agents(
        self, *, text: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Call[AgentPage]:
        """A page of the agents in use."""
        return get("/agents/", text=text, limit=limit, cursor=cursor)

    iter_agents = items_of(list_agents, AgentDocument)

    @Operation
    def create_agent(self, record: Mapping[str, Any]) -> Call[AgentDocument]:
        """Register an agent under its `agent_type`."""
        return post("/agents/", record)

    @Operation
    def get_agent(self, agent_type: str, *, version: int | None = None) -> Call[AgentDocument]:
        """An agent, a record at its latest version by default."""
        return get(path("agents", agent_type), version=version)

    @Operation
    def put_agent(
        self, agent_type: str, record: Mapping[str, Any], *, expected_version: int | None = None
    ) -> Call[AgentDocument]:
        """Register an agent or store its next version."""
        return put(path("agents", agent_type), record, expected_version=expected_version)

    @Operation
    def delete_agent(self, agent_type: str, *, expected_version: int | None = None) -> Call[None]:
        """Take an agent out of use."""
        return delete(path("agents", agent_type), expected_version=expected_version)

    @Operation
    def list_agent_versions(
        self, agent_type: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Call[AgentVersions]:
        """A page of versions of a record, newest first."""
        return get(path("agents", agent_type, "versions"), limit=limit, cursor=cursor)

    iter_agent_versions = items_of(list_agent_versions, AgentVersion)

    @Operation
    def get_agent_health(self, agent_type: str) -> Call[AgentHealthReport]:
        """How an agent is: calls, circuit, workers."""
        return get(path("agents", agent_type, "health"))

    @Operation
    def invoke_agent(
        self,
        agent_type: str,
        task: str,
        *,
        parameters: Any = None,
        input_data: Any = None,
        model: str | None = None,
        output_schema: Mapping[str, Any] | None = None,
        tools: Sequence[str] | None = None,
        session_id: str | None = None,
        max_turns: int | None = None,
        budget: Mapping[str, Any] | None = None,
        async_execution: bool = False,
        wait_seconds: float = 60.0,
        idempotency_key: str | None = None,
    ) -> Call[ExecutionDocument]:
        """Ask one agent without a workflow; still a durable execution, whose `output` is the answer.

        With the same `idempotency_key` it is asked once; one of its own by default, so that a question whose answer was
        lost is not asked twice.
        """
        body = fields(
            task=task,
            parameters=parameters,
            input=input_data,
            model=model,
            output_schema=output_schema,
            tools=None if tools is None else list(tools),
            session_id=session_id,
            max_turns=max_turns,
            budget=budget,
            async_execution=async_execution,
            wait_seconds=wait_seconds,
        )
        return keyed(
            path("agents", agent_type, "invoke"),
            body,
            idempotency_key,
            wait_seconds=0 if async_execution else wait_seconds,
        )

    @Operation
    def list_tools(self, *, limit: int | None = None, cursor: str | None = None) -> Call[ToolPage]:
        """A page of what steps and agents may call."""
        return get("/tools/", limit=limit, cursor=cursor)

    iter_tools = items_of(list_tools, ToolItem)

    @Operation
    def create_tool(self, record: Mapping[str, Any]) -> Call[ToolDocument]:
        """Declare a tool under its `name`."""
        return post("/tools/", record)

    @Operation
    def get_tool(self, name: str, *, version: int | None = None) -> Call[ToolDocument]:
        """A declared tool, at its latest version by default."""
        return get(path("tools", name), version=version)

    @Operation
    def put_tool(
        self, name: str, record: Mapping[str, Any], *, expected_version: int | None = None
    ) -> Call[ToolDocument]:
        """Declare a tool or store its next version."""
        return put(path("tools", name), record, expected_version=expected_version)

    @Operation
    def delete_tool(self, name: str, *, expected_version: int | None = None) -> Call[None]:
        """Take a declared tool out of use."""
        return delete(path("tools", name), expected_version=expected_version)

    @Operation
    def get_session(self, session_id: str) -> Call[SessionDocument]:
        """All that is kept of a conversation."""
        return get(path("sessions", session_id))

    @Operation
    def delete_session(self, session_id: str) -> Call[None]:
        """Forget a conversation."""
        return delete(path("sessions", session_id))

    @Operation
    def list_collections(self, *, limit: int | None = None, cursor: str | None = None) -> Call[CollectionPage]:
        """A page of the vector collections, as a worker sees them."""
        return get("/collections/", limit=limit, cursor=cursor)

    iter_collections = items_of(list_collections, CollectionView)

    @Operation
    def create_collection(self, name: str, dimensions: int, *, distance: str | None = None) -> Call[CollectionView]:
        """Create an empty vector collection."""
        return post("/collections/", fields(name=name, dimensions=dimensions, distance=distance))

    @Operation
    def get_collection(self, name: str) -> Call[CollectionView]:
        """A collection's dimension, distance and number of points."""
        return get(path("collections", name))

    @Operation
    def delete_collection(self, name: str) -> Call[None]:
        """Remove a collection with all that it holds."""
        return delete(path("collections", name))

    @Operation
    def list_breakers(self, *, limit: int | None = None, cursor: str | None = None) -> Call[BreakerList]:
        """A page of the circuits of dependencies that were called lately."""
        return get("/breakers/", limit=limit, cursor=cursor)

    iter_breakers = items_of(list_breakers, BreakerDocument)

    @Operation
    def get_breaker(self, name: str) -> Call[BreakerDocument]:
        """One circuit as it is now."""
        return get(path("breakers", name))

    @Operation
    def reset_breaker(self, name: str) -> Call[BreakerDocument]:
        """Close a circuit and forget its failures."""
        return post(path("breakers", name, "reset"), repeatable=True)
