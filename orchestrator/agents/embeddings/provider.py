"""Embeddings of a provider that speaks the OpenAI protocol: `POST {base}/embeddings`, never tried again here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import httpx2
import openai
import orjson

from orchestrator.agents.provider_errors import ResponseTooLarge, classify, timed_out
from orchestrator.agents.providers import ModelProviders
from orchestrator.execution.errors_steps import ModelBadResponse
from orchestrator.execution.messages import TokenUsage

TEXTS_A_CALL: Final = 64


async def embed_batch(
    providers: ModelProviders, model: str, texts: Sequence[str], timeout_seconds: float
) -> tuple[list[list[float]], TokenUsage]:
    """Embed at most `TEXTS_A_CALL` texts by one call.

    Raises:
        ModelUnavailable: no connection, 5xx, 408 or 409.
        ModelRateLimited: 429.
        ModelRejected: another 4xx, an unknown provider, a missing key.
        ModelBadResponse: an answer that does not speak the protocol.
        AttemptTimeout: no answer in time.
    """
    connection = providers.connection(model)
    label = f"embedding model '{model}' at {connection.place}"
    try:
        async with asyncio.timeout(timeout_seconds):
            response = await connection.client.embeddings.with_raw_response.create(
                model=connection.model, input=list(texts), encoding_format="float"
            )
    except TimeoutError:
        raise timed_out(label) from None
    except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ResponseTooLarge) as error:
        # The cause holds the request with its Authorization header: it must not reach a log.
        raise classify(error, label=label, key_name=connection.key_name, secret=connection.secret) from None
    return _read(response.content, len(texts), label)


def _read(content: bytes, count: int, label: str) -> tuple[list[list[float]], TokenUsage]:
    try:
        answer = orjson.loads(content)
        found = {item["index"]: _vector(item["embedding"]) for item in answer["data"]}
        vectors = [found[index] for index in range(count)]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error)[:100]}"
        raise ModelBadResponse(f"{label}: the answer is not one embedding for each text ({reason})") from error
    return vectors, TokenUsage(input_tokens=_tokens(answer.get("usage")), model_calls=1)


def _vector(numbers: Any) -> list[float]:
    vector = [float(number) for number in numbers]
    if not vector or not all(map(math.isfinite, vector)):
        raise ValueError("an embedding is empty or holds what is no number")
    return vector


def _tokens(usage: Any) -> int:
    if not isinstance(usage, dict):
        return 0
    tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
