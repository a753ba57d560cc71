"""Tools over an agent's own collection: its model need not, and cannot, name another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.agents.tools.specs import ToolSpec

MEMORY_TOOLS = frozenset({"vector_search", "remember"})


def shown(spec: ToolSpec, collection: str | None) -> ToolSpec:
    """Return a tool as the model is offered it: one of the agent's memory without its `collection`.

    Args:
        spec: any tool.
        collection: the agent's `memory.collection`; None: the model names one itself.
    """
    if collection is None or not _is_memory(spec):
        return spec
    schema = dict(spec.parameters)
    properties = {name: part for name, part in schema["properties"].items() if name != "collection"}
    required = [name for name in schema["required"] if name != "collection"]
    return replace(spec, parameters={**schema, "properties": properties, "required": required})


def completed(spec: ToolSpec, arguments: Any, collection: str | None) -> Any:
    """Return the arguments of a call with the agent's collection put in."""
    if collection is None or not _is_memory(spec) or not isinstance(arguments, Mapping):
        return arguments
    return {**arguments, "collection": collection}


def _is_memory(spec: ToolSpec) -> bool:
    return spec.kind == "builtin" and spec.name in MEMORY_TOOLS
