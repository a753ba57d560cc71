"""Reading a model's answer: the protocol's envelope, then the JSON value that a schema asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from orchestrator.agents.prompts import sane, sane_json
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors import InvalidOutput, ModelBadResponse, ModelRejected
from orchestrator.execution.messages import TokenUsage

DEEPEST_ANSWER = 60
LONGEST_QUOTE = 200
_FENCED = re.compile(r"\A```[a-zA-Z]*\s*\n(.*?)\n?```\Z", re.DOTALL)
_LARGEST, _SMALLEST = 2**63 - 1, -(2**63)


@dataclass(frozen=True, slots=True)
class Completion:
    """The text of a model's answer, and what it cost."""

    text: str
    usage: TokenUsage


def read_completion(body: bytes, *, label: str) -> Completion:
    """Return the answer in a Chat Completions body.

    Raises:
        ModelBadResponse: not JSON, no choices, no text, or cut off.
        ModelRejected: the provider's filter held the answer back.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        _refuse(label, f"the body is not JSON: {_quote_bytes(body)}")
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        _refuse(label, f"the body has no choices: {_quote_bytes(body)}")
    usage = _usage(document.get("usage"))
    reason = choices[0].get("finish_reason")
    if reason == "length":
        hint = "raise the agent's max_output_tokens, or ask for a shorter answer"
        _refuse(label, f"the answer was cut off after {usage.output_tokens} tokens", hint=hint)
    if reason == "content_filter":
        raise ModelRejected(f"{label}: the provider's content filter held the answer back")
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        refusal = message.get("refusal") if isinstance(message, dict) else None
        _refuse(label, f"the model refused: {_quote(refusal)}" if isinstance(refusal, str) else "there is no text")
    return Completion(sane(text), usage)


def parse_answer(text: str, schema: Mapping[str, Any], *, label: str) -> Any:
    """Return the JSON value in a model's text, checked against its schema.

    Raises:
        InvalidOutput: not JSON, or not what the schema says; `details.errors` lists why.
    """
    stripped = text.strip()
    fenced = _FENCED.match(stripped)
    try:
        value = json.loads(
            fenced.group(1) if fenced else stripped,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        problem = {"pointer": "", "message": f"not JSON: {error}"}
        raise InvalidOutput(
            f"{label}: the answer is not JSON: {_quote(text)}", details={"errors": [problem], "answer": _quote(text)}
        ) from None
    return checked(sane_json(value), schema, label=label)


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


def _usage(found: Any) -> TokenUsage:
    counts = found if isinstance(found, dict) else {}
    return TokenUsage(
        input_tokens=_count(counts.get("prompt_tokens")),
        output_tokens=_count(counts.get("completion_tokens")),
        model_calls=1,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else 0


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > 20 or not _SMALLEST <= int(text) <= _LARGEST:
        raise ValueError("an integer does not fit 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _quote_bytes(body: bytes) -> str:
    return _quote(body[: LONGEST_QUOTE * 4].decode("utf-8", "replace"))


def _quote(text: str) -> str:
    line = " ".join(sane(text[: LONGEST_QUOTE * 2]).split())
    return repr(line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…")


def _refuse(label: str, cause: str, *, hint: str | None = None) -> NoReturn:
    raise ModelBadResponse(f"{label}: {cause}", hint=hint)
