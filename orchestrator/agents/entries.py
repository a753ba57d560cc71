"""What the registry says about one agent, a record or a Python agent alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.stores.agents import StoredAgent


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """One agent of the registry. Times are aware UTC.

    Attributes:
        kind: `record` (data in Redis) or `python` (a class that workers registered).
        version: of the record; None for Python agents.
        record: the record's JSON; None for Python agents.
    """

    agent_type: str
    kind: Literal["record", "python"]
    description: str
    version: int | None = None
    sha256: str | None = None
    record: dict[str, Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    retired: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; times are ISO 8601, UTC."""
        return {
            "agent_type": self.agent_type,
            "kind": self.kind,
            "description": self.description,
            "version": self.version,
            "sha256": self.sha256,
            "record": self.record,
            "created_at": _iso(self.created_at),
            "updated_at": _iso(self.updated_at),
            "retired": self.retired,
        }

    def mentions(self, text: str) -> bool:
        """Return whether the type or the description contains the text, in any case."""
        wanted = text.casefold()
        return wanted in self.agent_type.casefold() or wanted in self.description.casefold()


def record_entry(stored: StoredAgent) -> AgentEntry:
    """Return the entry of a stored record."""
    return AgentEntry(
        agent_type=stored.agent_type,
        kind="record",
        description=str(stored.record.get("description") or ""),
        version=stored.version,
        sha256=stored.sha256,
        record=stored.record,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        retired=stored.retired,
    )


def python_entry(agent_type: str, description: Mapping[str, Any]) -> AgentEntry:
    """Return the entry of a registered Python agent."""
    return AgentEntry(agent_type, "python", str(description.get("description") or ""))


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
