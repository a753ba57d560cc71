"""Step paths and the ids made from them."""

from __future__ import annotations

import hashlib

LONGEST_ID = 200
"""Temporal refuses ids over 1,000 characters by failing the workflow task for ever; people read far shorter ones."""


def activity_id(path: str, suffix: str = "") -> str:
    """Return the activity id of a step path; over 200 characters its first 120, `~` and 16 hex of its SHA-256."""
    whole = path + suffix
    if len(whole) <= LONGEST_ID:
        return whole
    return f"{whole[:120]}~{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def tool_call_path(path: str, turn: int, number: int, tries: int = 0) -> str:
    """Return the path at which a tool call of an agent is decided.

    Args:
        path: the agent's step.
        turn: number of the model turn that asked for it.
        number: its place among that turn's calls.
        tries: how often the step was begun again; a decision about an earlier try is none about this one.
    """
    return f"{path}:t{turn}.{number}#{tries}" if tries else f"{path}:t{turn}.{number}"


def join_path(scope: str, step_id: str) -> str:
    """Return a step's path: the scope's path, a dot, the id."""
    return f"{scope}.{step_id}" if scope else step_id
