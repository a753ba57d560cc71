"""Streamed model calls over a real HTTP server: pieces as they come, and what every way to go wrong becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.agents.answers import Completion
from orchestrator.agents.providers import ModelProviders, ModelRequest
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import (
    AttemptTimeout,
    ModelBadResponse,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
)
from orchestrator.settings import ProviderSettings, Settings
from tests.fakes import model_behaviours as does
from tests.fakes import model_streams as streams
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.pace import within

SECRET = "sk-very-secret-0123456789"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather.", "parameters": CITY}


@pytest.fixture
async def providers(model_server: FakeModelServer) -> AsyncIterator[ModelProviders]:
    own = {
        "whole": ProviderSettings(base_url=model_server.url, streaming=False),
        "demo": ProviderSettings(base_url=model_server.url, tools="prompted"),
    }
    settings = Settings(
        _env_file=None,
        openai_base_url=model_server.url,
        openai_api_key=SECRET,
        model_stall_seconds=0.3,
        providers=own,
    )
    found = ModelProviders(settings)
    yield found
    await found.aclose()


def ask(told: list[str], **fields: Any) -> ModelRequest:
    messages = [{"role": "user", "content": "hello"}]
    return ModelRequest(**{"model": "openai/tiny", "messages": messages, "on_delta": told.append, **fields})


async def streamed(providers: ModelProviders, **fields: Any) -> tuple[Completion, list[str]]:
    told: list[str] = []
    return await providers.complete(ask(told, **fields)), told


async def test_text_comes_piece_by_piece_and_its_usage_at_the_end(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.always(does.text("the quick brown fox jumps"))
    found, told = await streamed(providers)
    assert len(told) == streams.PIECES and "".join(told) == found.text == "the quick brown fox jumps"
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage_reported) == (11, 7, True)
    assert (found.finish_reason, found.model) == ("stop", "fake")
    assert model_server.charged() == (11, 7)


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_the_same_streamed_and_whole(
    providers: ModelProviders, model_server: FakeModelServer, stream: bool
) -> None:
    model_server.always(does.tool_calls(("get_weather", {"city": "Oslo"}), ("nothing", "{broken")))
    found, told = await streamed(providers, tools=[WEATHER], model="openai/tiny" if stream else "whole/tiny")
    assert model_server.calls()[0].body.get("stream", False) is stream
    assert [(call.call_id, call.name, call.arguments_text) for call in found.tool_calls] == [
        ("call-0-0", "get_weather", '{"city": "Oslo"}'),
        ("call-0-1", "nothing", "{broken"),
    ]
    assert (found.text, found.finish_reason, told) == ("", "tool_calls", [])


async def test_a_provider_that_does_not_stream_tells_the_whole_text_at_once(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    found, told = await streamed(providers, model="whole/tiny")
    assert told == [found.text] == ["sample answer"]


async def test_a_server_that_answers_a_streamed_call_as_a_whole_is_understood(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.always(does.raw(b'{"choices": [{"message": {"content": "whole"}}]}'))
    found, told = await streamed(providers)
    assert told == [found.text] == ["whole"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (streams.without_done(), "half an answer"),
        (streams.stalled_after_the_end(), "half an answer"),
        (streams.in_odd_lines(), "half an answer"),
        (streams.split_character(), "a😀b?"),
    ],
    ids=["without done", "stalled after the end", "odd lines", "split character"],
)
async def test_an_answer_that_is_whole_is_taken_however_the_stream_goes_on(
    providers: ModelProviders, model_server: FakeModelServer, behaviour: does.Behaviour, words: str
) -> None:
    model_server.always(behaviour)
    found, told = await streamed(providers)
    assert found.text == "".join(told) == words
    assert len(model_server.calls()) == 1


FAILURES: dict[str, tuple[does.Behaviour, type[OrchestratorError], bool, str]] = {
    "cut off": (streams.cut_off(), ModelUnavailable, True, "connection failed"),
    "ends early": (streams.ends_early(), ModelBadResponse, True, "ended before the answer"),
    "stalled": (streams.stalled(), ModelUnavailable, True, "stalled for 0.3 s"),
    "garbage event": (streams.garbage_events(), ModelBadResponse, True, "not JSON"),
    "event that is no object": (streams.pieces([streams.event([1])]), ModelBadResponse, True, "no object"),
    "no events": (streams.no_events(), ModelBadResponse, True, "ended before"),
    "error event": (streams.error_event(), ModelUnavailable, True, "the engine fell over"),
    "error event with the key": (streams.error_event(f"bad key {SECRET}"), ModelUnavailable, True, "bad key ***"),
    "rate limit event": (streams.error_event(code=429), ModelRateLimited, True, "fell over"),
    "too large": (streams.huge_stream(), ModelBadResponse, False, "over 10,485,760 bytes"),
    "malformed calls": (
        streams.pieces([streams.delta({"tool_calls": {"a": 1}})]),
        ModelBadResponse,
        True,
        "tool_calls is not a list",
    ),
    "length": (does.text("cut", finish_reason="length"), ModelBadResponse, True, "cut off after 7 tokens"),
    "filter": (does.text("no", finish_reason="content_filter"), ModelRejected, False, "content filter"),
    "html": (does.garbage(), ModelBadResponse, True, "not JSON"),
    "503": (does.status(503), ModelUnavailable, True, "503"),
    "429": (does.status(429), ModelRateLimited, True, "429"),
    "401": (does.status(401), ModelRejected, False, "OPENAI_API_KEY"),
    "reset": (does.reset(), ModelUnavailable, True, "connection failed"),
}


@pytest.mark.parametrize("mode", FAILURES)
async def test_every_failure_of_a_stream_is_one_request_and_one_class(
    providers: ModelProviders, model_server: FakeModelServer, mode: str
) -> None:
    behaviour, kind, retryable, words = FAILURES[mode]
    model_server.always(behaviour)
    with pytest.raises(OrchestratorError) as caught:
        await streamed(providers)
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert words in caught.value.message and SECRET not in caught.value.message
    assert caught.value.__cause__ is None, "the cause would carry the request's headers into logs"
    assert len(model_server.calls()) == 1


async def test_usage_told_before_an_error_goes_with_it(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.always(streams.error_event())
    with pytest.raises(ModelUnavailable) as caught:
        await streamed(providers)
    assert caught.value.usage is not None
    assert (caught.value.usage.input_tokens, caught.value.usage.output_tokens) == (11, 2)


@pytest.mark.parametrize("behaviour", [streams.dripping(), does.slow_drip()], ids=["events", "bytes"])
async def test_a_dripping_answer_ends_at_the_calls_deadline(
    providers: ModelProviders, model_server: FakeModelServer, behaviour: does.Behaviour
) -> None:
    model_server.always(behaviour)
    began = awake_seconds()
    with pytest.raises(AttemptTimeout):
        await streamed(providers, timeout_seconds=0.5)
    assert within(awake_seconds() - began, 5)


async def test_a_prompted_call_and_a_prompted_answer_look_like_native_ones(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.then(
        does.text('{"tool": "get_weather", "arguments": {"city": "Oslo"}}'), does.text('{"answer": "rain"}')
    )
    called, nothing = await streamed(providers, model="demo/tiny", tools=[WEATHER])
    (call,) = called.tool_calls
    assert (call.name, call.arguments_text, called.text, nothing) == ("get_weather", '{"city":"Oslo"}', "", [])
    answered, told = await streamed(providers, model="demo/tiny", tools=[WEATHER])
    assert (answered.text, answered.tool_calls, told) == ("rain", (), ["rain"])
    assert all("tools" not in item.body and "stream" not in item.body for item in model_server.calls())
