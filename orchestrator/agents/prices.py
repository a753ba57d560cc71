"""What model calls cost, by the prices in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from orchestrator.execution.messages import TokenUsage
from orchestrator.settings import ModelPrice

EMBEDDED = "embedded/"
"""Models that run in the worker itself: free."""
_MILLION = Decimal(1_000_000)


def cost_usd(prices: Mapping[str, ModelPrice], model: str, usage: TokenUsage) -> float | None:
    """Return the cost of a usage in US dollars; None where no price is known, which is not the same as free.

    Args:
        prices: `settings.model_prices`: by `provider/model`, or by its beginning and `*` (the longest one wins).
        model: `provider/model`, as it was asked for.
        usage: what the provider reported.
    """
    if model.startswith(EMBEDDED):
        return 0.0
    price = _price_of(prices, model)
    if price is None:
        return None
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    cached_price = price.input_per_million if price.cached_input_per_million is None else price.cached_input_per_million
    millionths = (
        _exact(price.input_per_million) * (usage.input_tokens - cached)
        + _exact(cached_price) * cached
        + _exact(price.output_per_million) * usage.output_tokens
    )
    return float(millionths / _MILLION)


def _price_of(prices: Mapping[str, ModelPrice], model: str) -> ModelPrice | None:
    if model in prices:
        return prices[model]
    beginnings = [name for name in prices if name.endswith("*") and model.startswith(name[:-1])]
    return prices[max(beginnings, key=len)] if beginnings else None


def _exact(price: float) -> Decimal:
    """Return the price as it was written, not as the nearest binary fraction."""
    return Decimal(str(price))
