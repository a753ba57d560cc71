"""What a model is told: a task's rendered prompt, or the generic one for a task that the record does not list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.agents.records import AgentRecord
from orchestrator.expressions import render


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a prompt template, and a Python agent, sees.

    Attributes:
        task: the task's name.
        parameters: the step's `parameters`, evaluated.
        input: the execution's input.
        dependencies: outputs of the steps in `depends_on`, by step id.
    """

    task: str
    parameters: Any
    input: Any
    dependencies: Mapping[str, Any]

    def names(self) -> dict[str, Any]:
        """Return the roots of a prompt template."""
        return {
            "task": self.task,
            "parameters": self.parameters,
            "input": self.input,
            "dependencies": dict(self.dependencies),
        }


def prompt_messages(record: AgentRecord, context: TaskContext) -> list[dict[str, str]]:
    """Return the chat messages of a task's one model call.

    Raises:
        ExpressionError: the prompt reads what the input does not have.
    """
    task = record.tasks.get(context.task)
    prompt = generic_prompt(context) if task is None else _as_text(render(task.prompt, context.names()))
    messages = [{"role": "user", "content": sane(prompt)}]
    if record.instructions:
        messages.insert(0, {"role": "system", "content": sane(record.instructions)})
    return messages


def generic_prompt(context: TaskContext) -> str:
    """Return the prompt for a task that nobody wrote one for: it shows all that is known."""
    return (
        f"Task: {context.task}\n"
        f"Parameters: {_as_text(context.parameters)}\n"
        f"Input: {_as_text(context.input)}\n"
        f"Results of earlier steps: {_as_text(dict(context.dependencies))}\n"
        "Do the task and answer with its result only."
    )


def schema_instruction(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return the message for models whose server cannot enforce a JSON Schema."""
    text = f"Answer only with JSON that satisfies this JSON Schema, without code fences: {_as_text(dict(schema))}"
    return {"role": "system", "content": sane(text)}


def sane(text: str) -> str:
    """Return text that UTF-8 can carry: lone surrogates, legal in JSON, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def sane_json(value: Any) -> Any:
    """Return a JSON value with every text in it sane; what is no JSON stays as it is."""
    if isinstance(value, str):
        return sane(value)
    if isinstance(value, list):
        return [sane_json(item) for item in value]
    if isinstance(value, dict):
        return {sane(key) if isinstance(key, str) else key: sane_json(item) for key, item in value.items()}
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
