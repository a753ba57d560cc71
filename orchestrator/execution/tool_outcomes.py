"""How much of tools' results an agent's model is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from orchestrator.execution.messages_agents import ToolOutcome

OUTCOME_CHARACTERS = 200_000
"""Of one result; a model is told that the rest is cut."""
ROUND_CHARACTERS = 2_000_000
"""Of all results of one turn together: the next turn's input must stay far below what a payload may hold."""


def shortened(output: Any, characters: int = OUTCOME_CHARACTERS) -> Any:
    """Return a result as it is, or its beginning as text where it is longer than this.

    Args:
        output: any JSON value.
        characters: the most that its text (of a value that is none: its JSON) may have.
    """
    text = output if isinstance(output, str) else to_json(output).decode()
    if len(text) <= characters:
        return output
    note = f" … [cut: the result has {len(text):,} characters]"
    return text[: max(characters - len(note), 0)] + note


def shortened_round(outcomes: Sequence[ToolOutcome]) -> list[ToolOutcome]:
    """Return the results of one turn's calls, each with its share of what all may have together."""
    share = min(OUTCOME_CHARACTERS, ROUND_CHARACTERS // max(len(outcomes), 1))
    return [outcome.model_copy(update={"output": shortened(outcome.output, share)}) for outcome in outcomes]
