"""The graph of an execution's definition with live states, as JSON and as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.schemas.executions import ExecutionStatus
from api.schemas.steps import ExecutionGraph, GraphEdge, GraphNode
from orchestrator.definition.compiled import CompiledScope
from orchestrator.definition.compiler import compile_definition

_WEIGHT = ("running", "failed", "pending", "cancelled", "completed", "skipped")
"""Which state of many stands for all."""
_STYLES = {
    "running": "fill:#dbeafe,stroke:#2563eb",
    "completed": "fill:#dcfce7,stroke:#16a34a",
    "failed": "fill:#fee2e2,stroke:#dc2626",
    "cancelled": "fill:#f3f4f6,stroke:#6b7280",
    "skipped": "fill:#f9fafb,stroke:#9ca3af,stroke-dasharray:4",
}


def graph_of(
    definition: Mapping[str, Any],
    execution_id: str,
    status: ExecutionStatus,
    tally: Mapping[str, Mapping[str, int]],
    *,
    stale: bool,
) -> ExecutionGraph:
    """Return the graph.

    Args:
        definition: the document that the execution is pinned to.
        execution_id: its id.
        status: its status.
        tally: how many steps of each id are in each state.
        stale: the tally is what Temporal alone knows.
    """
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    for scope in _scopes(definition):
        for step_id, step in scope.steps.items():
            counts = dict(tally.get(step_id, {}))
            state = next((state for state in _WEIGHT if counts.get(state)), "pending")
            model, owner = step.model, scope.owner or None
            nodes.append(
                GraphNode(
                    step_id=step_id,
                    name=model.label,
                    step_type=model.step_type,
                    owner=owner,
                    part=scope.part,
                    state=state,
                    counts=counts,
                )
            )
        edges += [
            GraphEdge(source=source, target=target) for source, found in scope.dependents.items() for target in found
        ]
    return ExecutionGraph(execution_id=execution_id, status=status, stale=stale, nodes=nodes, edges=edges)


def mermaid_of(graph: ExecutionGraph) -> str:
    """Return the graph as a Mermaid flowchart; steps inside blocks hang on their block by dotted lines."""
    number = {node.step_id: f"s{index}" for index, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for node in graph.nodes:
        runs = sum(node.counts.values())
        many = f" ×{runs}" if runs > 1 else ""
        lines.append(f'  {number[node.step_id]}["{_label(node.name)}<br/>{node.state}{many}"]:::{node.state}')
    lines += [f"  {number[edge.source]} --> {number[edge.target]}" for edge in graph.edges]
    inner = {edge.target for edge in graph.edges}
    lines += [
        f"  {number[node.owner]} -.->|{_label(node.part)}| {number[node.step_id]}"
        for node in graph.nodes
        if node.owner in number and node.step_id not in inner
    ]
    lines += [f"  classDef {state} {style}" for state, style in _STYLES.items()]
    return "\n".join(lines) + "\n"


def _scopes(definition: Mapping[str, Any]) -> Iterator[CompiledScope]:
    for top in compile_definition(definition, "").tops():
        # `walk` gives the last scopes of a block first.
        yield from top.walk()


def _label(text: str) -> str:
    plain = text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("|", "/").replace("\n", " ")
