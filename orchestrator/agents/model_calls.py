"""A model call with everything that protects a provider: the fleet's limits, and the model's circuit."""

from __future__ import annotations

import json

from redis.asyncio import Redis

from orchestrator.agents.answers import Completion
from orchestrator.agents.providers import ModelProviders, ModelRequest
from orchestrator.execution.errors_steps import CircuitOpen, ModelRateLimited, StepFailure
from orchestrator.execution.messages import TokenUsage
from orchestrator.settings import Settings
from orchestrator.stores.breakers import CircuitBreakers
from orchestrator.stores.rate_limits import RateLimit, RateLimits

LETTERS_PER_TOKEN = 4
USUAL_ANSWER_TOKENS = 256
"""Reserved for an answer without a bound of its own; the real usage corrects it."""


def rate_limits(settings: Settings, redis: Redis) -> RateLimits:
    """Return the limits that the settings give the providers."""
    limits = {
        name.lower(): RateLimit(provider.requests_per_minute, provider.tokens_per_minute)
        for name, provider in settings.providers.items()
        if provider.requests_per_minute or provider.tokens_per_minute
    }
    return RateLimits(redis, settings.redis_key_prefix, limits)


class ModelCalls:
    """Makes model calls behind the buckets and the circuits."""

    def __init__(self, providers: ModelProviders, breakers: CircuitBreakers, limits: RateLimits) -> None:
        self._providers = providers
        self._breakers = breakers
        self._limits = limits

    async def complete(self, request: ModelRequest) -> Completion:
        """Make one model call.

        Raises:
            RateLimitedLocally: the fleet's limit is used up, or the provider told it to wait: parked, not counted.
            CircuitOpen: the model failed too often lately: parked, not counted.
            StepFailure: as `ModelProviders.complete`.
        """
        # First what no provider is asked for: it must neither use up a limit nor pass for a circuit's probe.
        self._providers.capabilities(request.model)
        reservation = await self._limits.reserve(request.model, estimated_tokens(request))
        try:
            async with self._breakers.guard(f"model:{request.model}", lease_seconds=request.timeout_seconds):
                completion = await self._providers.complete(request)
        except CircuitOpen:
            await self._limits.release(reservation)
            raise
        except ModelRateLimited as error:
            if error.retry_after_seconds:
                await self._limits.close(request.model, error.retry_after_seconds)
            await self._limits.settle(reservation, 0)
            raise
        except StepFailure as error:
            if error.usage is not None:
                await self._limits.settle(reservation, total_tokens(error.usage))
            raise
        if completion.usage_reported:
            await self._limits.settle(reservation, total_tokens(completion.usage))
        return completion


def estimated_tokens(request: ModelRequest) -> int:
    """Return how many tokens a call may use, from its letters and its bound for the answer."""
    letters = len(json.dumps([*request.messages, *request.tools], ensure_ascii=False, default=str))
    return letters // LETTERS_PER_TOKEN + (request.max_output_tokens or USUAL_ANSWER_TOKENS)


def total_tokens(usage: TokenUsage) -> int:
    """Return the tokens that count against a limit."""
    return usage.input_tokens + usage.output_tokens
