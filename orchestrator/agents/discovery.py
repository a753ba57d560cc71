"""Finding agents at start: records in a folder, Python agents by entry point."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from orchestrator.agents.base import BaseAgent
from orchestrator.agents.records import AGENT_TYPE_PATTERN, AgentRecord, check_record
from orchestrator.execution.errors import InvalidAgent

ENTRY_POINT_GROUP = "orchestrator.agents"


def read_records(folder: Path) -> list[AgentRecord]:
    """Return the records of a folder's `*.json`, by file name. Blocks: call it in a thread.

    Raises:
        InvalidAgent: the folder is not there, or a file is not a record; the message names it.
    """
    if not folder.is_dir():
        raise InvalidAgent(f"'{folder}' is not a folder of agent records", hint="check AGENTS_PATH")
    return [_read_record(path) for path in sorted(folder.glob("*.json"))]


def _read_record(path: Path) -> AgentRecord:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidAgent(f"'{path}' is not a JSON file: {error}") from error
    try:
        return check_record(document)
    except InvalidAgent as error:
        listed = "; ".join(f"{issue.pointer or '/'}: {issue.message}" for issue in error.issues)
        raise InvalidAgent(f"'{path}' is not an agent record: {listed}", issues=error.issues) from error


def entry_point_agents() -> Iterator[BaseAgent]:
    """Return the Python agents that installed packages offer under `orchestrator.agents`.

    Raises:
        InvalidAgent: an entry point does not load or names no agent.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        yield as_agent(_loaded(entry), f"entry point '{entry.name}' ({entry.value})")


def as_agent(found: Any, origin: str) -> BaseAgent:
    """Return an agent for an instance or a class that needs no arguments.

    Raises:
        InvalidAgent: it is neither, or its `agent_type` is missing or malformed.
    """
    agent = found
    if inspect.isclass(found) and issubclass(found, BaseAgent):
        try:
            agent = found()
        except TypeError as error:
            raise InvalidAgent(f"{origin} cannot be created: {error}", hint="register an instance instead") from error
    if not isinstance(agent, BaseAgent):
        raise InvalidAgent(f"{origin} is not a BaseAgent", hint="subclass orchestrator.agents.BaseAgent")
    agent_type = getattr(agent, "agent_type", None)
    if not isinstance(agent_type, str) or not re.match(AGENT_TYPE_PATTERN, agent_type):
        hint = f'set agent_type = "my_agent" on the class; it matches {AGENT_TYPE_PATTERN}'
        raise InvalidAgent(f"{origin} has no valid agent_type: {agent_type!r}", hint=hint)
    return agent


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise InvalidAgent(f"entry point '{entry.name}' ({entry.value}) does not load: {error}") from error
