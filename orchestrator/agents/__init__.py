"""Agents: records and Python classes, their registry, and the models that they ask."""

from orchestrator.agents.base import AgentContext, BaseAgent
from orchestrator.agents.entries import AgentEntry
from orchestrator.agents.factory import AgentFactory, PinnedRecord
from orchestrator.agents.health import AgentHealth
from orchestrator.agents.providers import ModelProviders
from orchestrator.agents.records import AgentRecord, TaskRecord, check_record

agent_factory = AgentFactory()
"""The process's registry; it opens nothing until it is used."""

__all__ = [
    "AgentContext",
    "AgentEntry",
    "AgentFactory",
    "AgentHealth",
    "AgentRecord",
    "BaseAgent",
    "ModelProviders",
    "PinnedRecord",
    "TaskRecord",
    "agent_factory",
    "check_record",
]
