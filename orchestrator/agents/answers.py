"""Reading a model's answer: the protocol's envelope, then the JSON value that a schema asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from orchestrator.agents.prompts import sane, sane_json
from orchestrator.agents.provider_errors import raise_declared
from orchestrator.agents.tool_call_parts import MalformedToolCalls, ModelToolCall, ToolCallParts, joined, no_constant
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import InvalidOutput, ModelBadResponse, ModelRejected
from orchestrator.execution.messages import TokenUsage

DEEPEST_ANSWER = 60
LONGEST_QUOTE = 200
_FENCED = re.compile(r"\A```[a-zA-Z]*\s*\n(.*?)\n?```\Z", re.DOTALL)
_LARGEST, _SMALLEST = 2**63 - 1, -(2**63)


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer, and what it cost.

    Attributes:
        text: empty where the model only calls tools.
        tool_calls: what it wants to have called, in its order.
        finish_reason: as the provider said it (`stop`, `tool_calls`, …); None where it said nothing.
        model: the model that answered, as the provider names it.
        usage_reported: whether the provider told the tokens; else `usage` counts the call alone.
    """

    text: str
    usage: TokenUsage
    tool_calls: tuple[ModelToolCall, ...] = ()
    finish_reason: str | None = None
    model: str | None = None
    usage_reported: bool = True


@dataclass(slots=True)
class AnswerDraft:
    """What an answer is made of, gathered from a whole body or piece by piece from a stream."""

    texts: list[str] = field(default_factory=list)
    has_text: bool = False
    refusal: str = ""
    calls: ToolCallParts = field(default_factory=ToolCallParts)
    finish_reason: str | None = None
    model: str | None = None
    usage: Any = None

    def note(self, document: Mapping[str, Any]) -> None:
        """Take what stands around the choices: usage and the model's name."""
        self.usage = document.get("usage") or self.usage
        if isinstance(document.get("model"), str):
            self.model = sane(document["model"])

    def add(self, message: Mapping[str, Any], *, piece: bool = False) -> str:
        """Take a message or a delta, and return its text.

        An empty `piece` is no text: every stream begins with one, whatever follows.

        Raises:
            MalformedToolCalls: its tool calls do not speak the protocol.
        """
        self.calls.add(message.get("tool_calls"))
        if isinstance(message.get("refusal"), str):
            self.refusal += message["refusal"]
        text = _content(message.get("content"))
        if text is None:
            return ""
        self.has_text = self.has_text or not piece or text != ""
        self.texts.append(text)
        return text

    def completion(self, label: str) -> Completion:
        """Return the answer.

        Raises:
            ModelBadResponse: no text and no call, or cut off.
            ModelRejected: the provider's filter held the answer back.
        """
        usage = token_usage(self.usage)
        with charged(usage):
            if self.finish_reason == "length":
                hint = "raise the agent's max_output_tokens, or ask for a shorter answer"
                refuse(label, f"the answer was cut off after {usage.output_tokens} tokens", hint=hint)
            if self.finish_reason == "content_filter":
                raise ModelRejected(f"{label}: the provider's content filter held the answer back")
            try:
                calls = self.calls.calls()
            except MalformedToolCalls as error:
                refuse(label, str(error))
            if not self.has_text and not calls:
                refuse(label, f"the model refused: {quote(self.refusal)}" if self.refusal else "there is no text")
        text = sane(joined(self.texts))
        return Completion(text, usage, calls, self.finish_reason, self.model, isinstance(self.usage, dict))


@contextmanager
def charged(usage: TokenUsage) -> Iterator[None]:
    """Tell every error of the block what the provider charged for the answer: `error.usage`."""
    try:
        yield
    except OrchestratorError as error:
        error.usage = usage
        raise


def read_completion(body: bytes, *, label: str, secret: str | None = None) -> Completion:
    """Return the answer in a Chat Completions body.

    Args:
        body: what the provider sent.
        label: the provider and model, for messages.
        secret: the key, struck out of whatever the provider said.

    Raises:
        ModelBadResponse: not JSON, no choices, no text and no tool call, or cut off.
        ModelRateLimited: the body is an error that says so.
        ModelRejected: the provider's filter held the answer back.
        ModelUnavailable: the body is another error, though the status is 200.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        refuse(label, f"the body is not JSON: {quote_bytes(body)}")
    raise_declared(document, label=label, secret=secret)
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        with charged(token_usage(document.get("usage") if isinstance(document, dict) else None)):
            refuse(label, f"the body has no choices: {quote_bytes(body)}")
    draft = AnswerDraft(finish_reason=finish_reason(choices[0]))
    draft.note(document)
    message = choices[0].get("message")
    with charged(token_usage(draft.usage)):
        try:
            draft.add(message if isinstance(message, dict) else {})
        except MalformedToolCalls as error:
            refuse(label, str(error))
    return draft.completion(label)


def finish_reason(choice: Mapping[str, Any]) -> str | None:
    """Return why the model stopped, if the choice says so."""
    reason = choice.get("finish_reason")
    return sane(reason) if isinstance(reason, str) and reason else None


def parse_answer(text: str, schema: Mapping[str, Any], *, label: str) -> Any:
    """Return the JSON value in a model's text, checked against its schema.

    Raises:
        InvalidOutput: not JSON, or not what the schema says; `details.errors` lists why.
    """
    stripped = text.strip()
    fenced = _FENCED.match(stripped)
    try:
        value = strict_json(fenced.group(1) if fenced else stripped)
    except (ValueError, RecursionError) as error:
        problem = {"pointer": "", "message": f"not JSON: {error}"}
        raise InvalidOutput(
            f"{label}: the answer is not JSON: {quote(text)}", details={"errors": [problem], "answer": quote(text)}
        ) from None
    return checked(sane_json(value), schema, label=label)


def strict_json(text: str) -> Any:
    """Return the JSON value in a text: no NaN, no infinity, no integer over 64 bits.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, parse_constant=no_constant, parse_int=_integer, parse_float=_finite)


def checked(value: Any, schema: Mapping[str, Any], *, label: str) -> Any:
    """Return `value` if it satisfies the schema.

    Raises:
        InvalidOutput: it does not; `details.errors` lists why.
    """
    if too_deep(value):
        problems = [{"pointer": "", "message": f"nested deeper than {DEEPEST_ANSWER}"}]
    else:
        problems = [{"pointer": issue.pointer, "message": issue.message} for issue in value_issues(schema, value)]
    if not problems:
        return value
    first = problems[0]
    where = f" at {first['pointer']}" if first["pointer"] else ""
    raise InvalidOutput(
        f"{label}: the answer breaks output_schema{where}: {first['message']}", details={"errors": problems}
    )


def too_deep(value: Any) -> bool:
    """Return whether a JSON value is nested deeper than expressions may read."""
    level = [value]
    for _ in range(DEEPEST_ANSWER):
        level = [
            item
            for part in level
            if isinstance(part, (list, dict))
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return False
    return True


def token_usage(found: Any) -> TokenUsage:
    """Return the usage that a provider reported; zeros where it did not."""
    counts = found if isinstance(found, dict) else {}
    details = counts.get("prompt_tokens_details")
    return TokenUsage(
        input_tokens=_count(counts.get("prompt_tokens")),
        output_tokens=_count(counts.get("completion_tokens")),
        cached_input_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        model_calls=1,
    )


def _content(found: Any) -> str | None:
    """Return a message's text; some servers send it as a list of parts."""
    if isinstance(found, list):
        texts = [part["text"] for part in found if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return "".join(texts) if texts else None
    return found if isinstance(found, str) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else 0


def _integer(text: str) -> int:
    if len(text) > 20 or not _SMALLEST <= int(text) <= _LARGEST:
        raise ValueError("an integer does not fit 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def quote_bytes(body: bytes) -> str:
    """Return the beginning of a body for a message."""
    return quote(body[: LONGEST_QUOTE * 4].decode("utf-8", "replace"))


def quote(text: str) -> str:
    """Return the beginning of a text for a message, on one line."""
    line = " ".join(sane(text[: LONGEST_QUOTE * 2]).split())
    return repr(line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…")


def refuse(label: str, cause: str, *, hint: str | None = None) -> NoReturn:
    """Raise `ModelBadResponse`."""
    raise ModelBadResponse(f"{label}: {cause}", hint=hint)
