"""What a model is asked, and how that is written in Chat Completions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.agents.prompted_tools import plain_messages, union_schema
from orchestrator.agents.prompts import schema_instruction
from orchestrator.execution.errors_steps import ModelRejected

ToolsCapability = Literal["native", "prompted", "none"]
_REASONING_MODEL = re.compile(r"^(o\d|gpt-5)")
_CHOICES = ("auto", "required", "none")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One chat completion.

    Attributes:
        model: `provider/model`.
        messages: in order, as Chat Completions writes them: `role` and `content`; an assistant's message may have
            `tool_calls` (`{id, type: function, function: {name, arguments}}`), its answers are messages of the role
            `tool` with `tool_call_id`.
        output_schema: asked of the provider as `response_format` where it can.
        schema_name: the schema's name for the provider.
        timeout_seconds: for the whole call.
        tools: what the model may call, each `{name, description, parameters}`.
        tool_choice: `auto` (the default), `required`, `none`, or the name of the one tool to call.
        on_delta: called with each piece of text as it arrives; the call is then streamed where the provider can,
            else it gets the whole text at the end. It must neither block nor raise.
        idempotency_key: sent as `Idempotency-Key`: the same for every attempt of one call.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    output_schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    temperature: float | None = None
    max_output_tokens: int | None = None
    timeout_seconds: float = 300.0
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | None = None
    on_delta: Callable[[str], None] | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can.

    Attributes:
        official: it is OpenAI itself, which has names and rules of its own.
        structured_output: it enforces a JSON Schema (`response_format`).
        tools: how it takes tools: as the protocol says, put into the prompt and the schema, or not at all.
        streaming: it streams answers.
    """

    official: bool = False
    structured_output: bool = True
    tools: ToolsCapability = "native"
    streaming: bool = True


def is_prompted(request: ModelRequest, can: Capabilities) -> bool:
    """Return whether the request's tools go into the prompt, because the provider's models know none."""
    return can.tools == "prompted" and bool(request.tools) and request.tool_choice != "none"


def call_arguments(request: ModelRequest, model: str, can: Capabilities, *, stream: bool) -> dict[str, Any]:
    """Return the arguments of the client's `create`.

    Args:
        request: what is asked.
        model: the model's name at the provider.
        can: the provider's capabilities.
        stream: whether to ask for a stream.

    Raises:
        ModelRejected: there are tools, and the provider takes none.
    """
    arguments: dict[str, Any] = {"model": model, "messages": [dict(message) for message in request.messages]}
    if can.tools == "prompted":
        arguments["messages"] = plain_messages(request.messages)
    # OpenAI's reasoning models refuse a temperature (400); its API calls the bound max_completion_tokens.
    if request.temperature is not None and not (can.official and _REASONING_MODEL.match(model)):
        arguments["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        arguments["max_completion_tokens" if can.official else "max_tokens"] = request.max_output_tokens
    if request.idempotency_key is not None:
        arguments["extra_headers"] = {"Idempotency-Key": _header_text(request.idempotency_key)}
    if stream:
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
    if is_prompted(request, can):
        schema, instruction = union_schema(request.tools, request.output_schema, request.tool_choice)
        _ask_for(arguments, schema, request.schema_name, can, instruction)
        return arguments
    if request.tools:
        arguments |= _native_tools(request, can)
    if request.output_schema is not None:
        instruction = schema_instruction(request.output_schema)
        _ask_for(
            arguments, request.output_schema, request.schema_name, can, None if can.structured_output else instruction
        )
    return arguments


def _ask_for(
    arguments: dict[str, Any],
    schema: Mapping[str, Any],
    name: str,
    can: Capabilities,
    instruction: Mapping[str, str] | None,
) -> None:
    if instruction is not None:
        arguments["messages"].insert(0, dict(instruction))
    if can.structured_output:
        title = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "answer"
        arguments["response_format"] = {"type": "json_schema", "json_schema": {"name": title, "schema": dict(schema)}}


def _native_tools(request: ModelRequest, can: Capabilities) -> dict[str, Any]:
    if can.tools == "none":
        hint = "set PROVIDERS__<NAME>__TOOLS to native or prompted, or take the tools from the agent"
        raise ModelRejected(f"the provider of model '{request.model}' takes no tools", hint=hint)
    if can.tools == "prompted":
        return {}
    found: dict[str, Any] = {"tools": [{"type": "function", "function": dict(tool)} for tool in request.tools]}
    choice = request.tool_choice
    if choice in _CHOICES:
        found["tool_choice"] = choice
    elif choice is not None:
        found["tool_choice"] = {"type": "function", "function": {"name": choice}}
    return found


def _header_text(key: str) -> str:
    """Return a key that a header can carry: other characters as their escapes."""
    return "".join(letter if " " < letter <= "~" else f"%{ord(letter):02X}" for letter in key)
