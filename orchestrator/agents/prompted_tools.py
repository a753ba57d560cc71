"""Tools for models whose server knows none: offered in the prompt, chosen by an answer that a schema shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.agents.prompts import sane

_INSTRUCTION = (
    'Answer only with one JSON object. To call a tool: {"tool": <its name>, "arguments": <its arguments>}. '
    'To give the final answer: {"answer": <the answer>}.'
)
_CALL_ONLY = 'Answer only with one JSON object that calls a tool: {"tool": <its name>, "arguments": <its arguments>}.'


def union_schema(
    tools: Sequence[Mapping[str, Any]], output_schema: Mapping[str, Any] | None, tool_choice: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the schema of "a call of one of these tools, or the answer", and the message that explains it.

    Args:
        tools: what is offered, each `{name, description, parameters}`.
        output_schema: of the final answer; a text where None.
        tool_choice: `required` or a tool's name: no final answer is possible.
    """
    named = [tool for tool in tools if tool_choice in (None, "auto", "required", tool["name"])]
    schema: dict[str, Any] = {"anyOf": []}
    options = schema["anyOf"]
    for tool in named:
        arguments = _placed(_parameters(tool), schema, f"tool_{len(options)}")
        options.append(_object({"tool": {"const": tool["name"]}, "arguments": arguments}))
    must_call = tool_choice not in (None, "auto")
    if not must_call:
        answer = output_schema if output_schema is not None else {"type": "string"}
        options.append(_object({"answer": _placed(answer, schema, "answer")}))
    lines = [_CALL_ONLY if must_call else _INSTRUCTION, "Tools:"]
    lines += [
        f"- {tool['name']}: {tool.get('description') or ''} Arguments: {_json(_parameters(tool))}" for tool in named
    ]
    if output_schema is not None and not must_call:
        lines.append(f"The answer satisfies this JSON Schema: {_json(output_schema)}")
    return schema, {"role": "system", "content": sane("\n".join(lines))}


def plain_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation without the protocol's tool messages: calls and their results as plain text."""
    names: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for message in messages:
        calls = message.get("tool_calls") or []
        if calls:
            names |= {str(call["id"]): str(call["function"]["name"]) for call in calls}
            said = [_said(call["function"]) for call in calls]
            found.append({"role": "assistant", "content": "\n".join([*filter(None, [message.get("content")]), *said])})
        elif message.get("role") == "tool":
            name = names.get(str(message.get("tool_call_id")), "tool")
            found.append({"role": "user", "content": f"Result of {name}: {message.get('content')}"})
        else:
            found.append(dict(message))
    return found


def read_choice(text: str) -> tuple[str | None, tuple[str, str] | None]:
    """Return the answer's text, or the tool's name and its arguments as JSON.

    What is neither is the answer as it stands: a schema, where there is one, judges it.
    """
    try:
        chosen = json.loads(text)
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(chosen, dict):
        return text, None
    if isinstance(chosen.get("tool"), str):
        return None, (chosen["tool"], _json(chosen.get("arguments", {})))
    if set(chosen) == {"answer"}:
        answer = chosen["answer"]
        return answer if isinstance(answer, str) else _json(answer), None
    return text, None


def _placed(part: Mapping[str, Any], schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the part for use below the schema's root; one that refers to itself moves to `$defs`."""
    if '"$ref"' not in _json(part):
        return dict(part)
    schema.setdefault("$defs", {})[name] = _rebased(part, f"#/$defs/{name}")
    return {"$ref": f"#/$defs/{name}"}


def _rebased(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_rebased(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: root + item[1:]
        if key == "$ref" and isinstance(item, str) and item.startswith("#")
        else _rebased(item, root)
        for key, item in value.items()
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _parameters(tool: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tool.get("parameters") or {"type": "object"})


def _said(function: Mapping[str, Any]) -> str:
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError):
        arguments = function.get("arguments")
    return _json({"tool": function["name"], "arguments": arguments})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
