"""What OpenAI's own API is sent, which differs from what other servers take."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.agents.providers import OFFICIAL_BASE_URL, ModelProviders, ModelRequest, _arguments
from orchestrator.settings import Settings


async def sent(model: str, base_url: str) -> dict[str, Any]:
    providers = ModelProviders(Settings(_env_file=None, openai_base_url=base_url, openai_api_key="sk-test"))
    request = ModelRequest(model=f"openai/{model}", messages=[], temperature=0.0, max_output_tokens=9)
    provider, name = providers._resolve(request.model)
    found = _arguments(provider, name, request)
    await providers.aclose()
    return {key: value for key, value in found.items() if key not in ("model", "messages")}


@pytest.mark.parametrize("model", ["gpt-5-mini", "o4-mini"])
async def test_reasoning_models_get_no_temperature_because_they_refuse_one(model: str) -> None:
    assert await sent(model, OFFICIAL_BASE_URL) == {"max_completion_tokens": 9}


async def test_other_models_of_openai_get_it() -> None:
    assert await sent("gpt-4.1-mini", OFFICIAL_BASE_URL) == {"temperature": 0.0, "max_completion_tokens": 9}


async def test_other_servers_get_the_older_name_of_the_bound() -> None:
    assert await sent("gpt-5-mini", "http://127.0.0.1:1/v1") == {"temperature": 0.0, "max_tokens": 9}
