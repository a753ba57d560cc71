"""Costs by a price table."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestrator.agents.prices import cost_usd
from orchestrator.execution.messages import TokenUsage
from orchestrator.settings import ModelPrice, Settings

PRICES = {
    "openai/gpt-5": ModelPrice(input_per_million=1.25, output_per_million=10, cached_input_per_million=0.125),
    "openai/gpt-5*": ModelPrice(input_per_million=0.25, output_per_million=2),
    "openai/*": ModelPrice(input_per_million=100, output_per_million=100),
    "own/*": ModelPrice(input_per_million=0, output_per_million=0),
}
USAGE = TokenUsage(input_tokens=1000, output_tokens=100, cached_input_tokens=400, model_calls=1)


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("openai/gpt-5", 0.0018),
        ("openai/gpt-5-mini", 0.00045),
        ("openai/o4", 0.11),
        ("own/llama", 0.0),
        ("vllm/llama", None),
        ("gpt-5", None),
    ],
)
def test_the_exact_name_wins_then_the_longest_beginning_and_an_unknown_price_is_no_cost(
    model: str, cost: float | None
) -> None:
    assert cost_usd(PRICES, model, USAGE) == cost


def test_more_cached_tokens_than_tokens_cost_no_less_than_nothing() -> None:
    usage = TokenUsage(input_tokens=10, cached_input_tokens=1000)
    assert cost_usd(PRICES, "openai/gpt-5", usage) == 0.00000125


def test_sums_of_many_calls_are_exact_in_the_last_shown_digit() -> None:
    total = TokenUsage(input_tokens=3_000_000, output_tokens=1_000_000)
    assert cost_usd({"a/b": ModelPrice(input_per_million=0.1, output_per_million=0.2)}, "a/b", total) == 0.5


def test_prices_come_from_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PRICES", '{"openai/x": {"input_per_million": 1, "output_per_million": 2}}')
    assert cost_usd(Settings(_env_file=None).model_prices, "openai/x", USAGE) == 0.0012
    monkeypatch.setenv("MODEL_PRICES", '{"openai/x": {"input_per_million": -1, "output_per_million": 2}}')
    with pytest.raises(ValidationError, match="input_per_million"):
        Settings(_env_file=None)
