"""Steps of all scopes, and the graph that they make."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.schemas.executions import ExecutionStatus, StepRow


class StepDocument(StepRow):
    """One step of any scope."""

    epoch: int = Field(0, description="how often it was begun again")
    awaits: str | None = Field(None, description="signal, approval or operator, while it waits for one")
    output: Any = Field(None, description="only where one step was asked for")
    stale: bool = Field(False, description="true: no worker answered, and root steps alone are known")


class StepPage(BaseModel):
    """Steps in the order of their paths, inner ones after their block."""

    items: list[StepDocument]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
    stale: bool = Field(False, description="true: no worker answered, and root steps alone are known")


class GraphNode(BaseModel):
    """One step of the definition."""

    step_id: str
    name: str
    step_type: str
    owner: str | None = Field(None, description="the block that holds it; null in the root scope")
    part: str = Field(description="which scope of its owner: root, body, branch:<name>, case:<n>, handler:<n>, …")
    state: str = Field(description="of a step that ran many times the one that matters most: running, failed, …")
    counts: dict[str, int] = Field(default_factory=dict, description="how many of its runs are in each state")


class GraphEdge(BaseModel):
    """`target` waits for `source`."""

    source: str
    target: str


class ExecutionGraph(BaseModel):
    """The definition that the execution is pinned to, with live states."""

    execution_id: str
    status: ExecutionStatus
    stale: bool = False
    nodes: list[GraphNode]
    edges: list[GraphEdge]
