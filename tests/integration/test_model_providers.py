"""One model call over a real HTTP server: what is sent, and what every failure becomes."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from orchestrator.agents.provider_errors import retry_after_seconds
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
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.polling import eventually
from tests.support.ports import free_port

SECRET = "sk-very-secret-0123456789"
CODED_SECRET = base64.b64encode(f"key:{SECRET}".encode()).decode()
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def ask(**fields: Any) -> ModelRequest:
    return ModelRequest(**{"model": "openai/tiny", "messages": [{"role": "user", "content": "hello"}], **fields})


@pytest.fixture
async def providers(model_server: FakeModelServer) -> AsyncIterator[ModelProviders]:
    settings = Settings(_env_file=None, openai_base_url=model_server.url, openai_api_key=SECRET)
    found = ModelProviders(settings)
    yield found
    await found.aclose()


async def refused(providers: ModelProviders, request: ModelRequest | None = None) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        await providers.complete(request or ask())
    error = caught.value
    assert SECRET not in f"{error} {error.hint} {error.details}"
    assert error.__cause__ is None, "the cause would carry the request's headers into logs"
    assert "openai/tiny" in error.message
    return error


async def test_a_call_sends_what_was_asked_and_returns_text_and_usage(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    found = await providers.complete(
        ask(output_schema=SCHEMA, schema_name="is it ok?", temperature=0.0, max_output_tokens=50)
    )
    assert json.loads(found.text) == {"ok": True}
    assert (found.usage.input_tokens, found.usage.output_tokens) == (11, 7)
    (call,) = model_server.calls()
    assert call.body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.0,
        "max_tokens": 50,
        "response_format": {"type": "json_schema", "json_schema": {"name": "is_it_ok_", "schema": SCHEMA}},
    }
    assert call.headers["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("behaviour", "error", "retryable", "words"),
    [
        (does.status(500), ModelUnavailable, True, "answered 500: scripted failure"),
        (does.status(503), ModelUnavailable, True, "503"),
        (does.status(408), ModelUnavailable, True, "408"),
        (does.status(409), ModelUnavailable, True, "409"),
        (does.status(429), ModelRateLimited, True, "429"),
        (does.status(400), ModelRejected, False, "400"),
        (does.status(401, f"Incorrect API key provided: {SECRET}"), ModelRejected, False, "OPENAI_API_KEY"),
        (does.status(404), ModelRejected, False, "404"),
        (does.raw(b"<html>nginx</html>", "text/html", 502), ModelUnavailable, True, "502"),
        (does.raw(b"", code=302), ModelRejected, False, "302"),
        (does.reset(), ModelUnavailable, True, "connection failed"),
        (does.garbage(), ModelBadResponse, True, "not JSON"),
        (does.truncated_json(), ModelBadResponse, True, "not JSON"),
        (does.empty_choices(), ModelBadResponse, True, "no choices"),
        (does.raw(b""), ModelBadResponse, True, "not JSON"),
        (does.text("cut", finish_reason="length"), ModelBadResponse, True, "cut off"),
        (does.text(None), ModelBadResponse, True, "there is no text"),
        (does.text("no", finish_reason="content_filter"), ModelRejected, False, "content filter"),
        (does.tool_calls(*[("a", {})] * 129), ModelBadResponse, True, "over 128 tool calls"),
        (does.reset_after_headers(), ModelUnavailable, True, "connection failed"),
        (does.redirect("http://127.0.0.1:1/v1"), ModelRejected, False, "307"),
        (does.declared_error(), ModelUnavailable, True, "scripted failure"),
        (does.declared_error(code=429), ModelRateLimited, True, "scripted failure"),
        (does.declared_error(message=f"bad key {SECRET}"), ModelUnavailable, True, "bad key ***"),
        (does.declared_error(message=f"bad key {CODED_SECRET}"), ModelUnavailable, True, "bad key ***"),
        (does.status(413), ModelRejected, False, "413"),
        (does.status(422), ModelRejected, False, "422"),
        (does.huge(), ModelBadResponse, False, "over 10,485,760 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_every_failure_is_one_request_and_one_class(
    providers: ModelProviders,
    model_server: FakeModelServer,
    behaviour: does.Behaviour,
    error: type[OrchestratorError],
    retryable: bool,
    words: str,
) -> None:
    model_server.always(behaviour)
    found = await refused(providers)
    assert type(found) is error
    assert found.retryable is retryable
    assert words in found.message
    assert len(model_server.calls()) == 1


async def test_a_body_just_below_the_limit_is_taken(providers: ModelProviders, model_server: FakeModelServer) -> None:
    model_server.always(does.text("x" * (9 * 1024 * 1024)))
    assert len((await providers.complete(ask())).text) == 9 * 1024 * 1024


async def test_a_silent_server_is_a_timeout_within_the_calls_time(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.always(does.hang())
    began = awake_seconds()
    found = await refused(providers, ask(timeout_seconds=0.3))
    assert isinstance(found, AttemptTimeout) and found.retryable
    assert within(awake_seconds() - began, 2)
    assert len(model_server.calls()) == 1


async def test_a_cancelled_call_ends_as_cancelled(providers: ModelProviders, model_server: FakeModelServer) -> None:
    model_server.always(does.hang())
    task = asyncio.create_task(providers.complete(ask()))
    await eventually(lambda: bool(model_server.calls()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_retry_after_is_kept_as_seconds_and_as_a_date(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    model_server.then(
        does.status(429, headers={"Retry-After": "7"}),
        does.status(429, headers={"Retry-After": date}),
        does.status(503, headers={"Retry-After": "99999999"}),
    )
    assert (await refused(providers)).retry_after_seconds == 7
    assert 80 < ((await refused(providers)).retry_after_seconds or 0) <= 90
    assert (await refused(providers)).retry_after_seconds == 3600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("-5", 0), ("1.5", 1.5), ("inf", 3600), ("nan", None), ("soon", None), ("", None)],
)
def test_retry_after_takes_what_it_can(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": value}) == seconds


def test_a_retry_after_in_the_past_is_now() -> None:
    assert retry_after_seconds({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == 0


async def test_no_server_is_unavailable_with_the_setting_to_check() -> None:
    settings = Settings(_env_file=None, openai_base_url=f"http://127.0.0.1:{free_port()}/v1", openai_api_key=SECRET)
    found = await refused(ModelProviders(settings))
    assert isinstance(found, ModelUnavailable)
    assert "OPENAI_BASE_URL" in (found.hint or "")


async def test_a_base_url_that_is_none_is_refused_for_good() -> None:
    urls = (
        "not a url",
        "ftp://127.0.0.1/v1",
        "http://",
        "http://[bad",
        "http://host:port/v1",
        "http://host/v1?version=1",
    )
    for url in urls:
        settings = Settings(_env_file=None, providers={"mine": ProviderSettings(base_url=url)})
        with pytest.raises(ModelRejected, match="PROVIDERS__MINE__BASE_URL is not an"):
            await ModelProviders(settings).complete(ask(model="mine/tiny"))


async def test_ones_own_server_needs_no_key(model_server: FakeModelServer) -> None:
    providers = ModelProviders(Settings(_env_file=None, openai_base_url=model_server.url))
    assert (await providers.complete(ask())).text == "sample answer"
    await providers.aclose()


async def test_without_key_and_base_url_the_message_names_both_and_nothing_is_sent() -> None:
    with pytest.raises(ModelRejected) as caught:
        await ModelProviders(Settings(_env_file=None, openai_base_url=None)).complete(ask())
    assert "OPENAI_API_KEY" in caught.value.message and "OPENAI_BASE_URL" in (caught.value.hint or "")


async def test_named_providers_have_their_own_url_key_and_capabilities(model_server: FakeModelServer) -> None:
    own = ProviderSettings(base_url=model_server.url, api_key="own-key", structured_output=False)
    providers = ModelProviders(Settings(_env_file=None, providers={"vllm": own}))
    await providers.complete(ask(model="vllm/meta/llama-3", output_schema=SCHEMA))
    (call,) = model_server.calls()
    assert call.body["model"] == "meta/llama-3"
    assert call.headers["Authorization"] == "Bearer own-key"
    assert "response_format" not in call.body
    assert json.dumps(SCHEMA, separators=(",", ":")) in call.prompt
    await providers.aclose()


@pytest.mark.parametrize(
    ("model", "words"), [("tiny", "names no provider"), ("nowhere/x", "no model provider 'nowhere'")]
)
async def test_a_model_of_no_configured_provider_is_refused(model: str, words: str) -> None:
    with pytest.raises(ModelRejected, match=words) as caught:
        await ModelProviders(Settings(_env_file=None)).complete(ask(model=model))
    assert "provider/model" in (caught.value.hint or "") or "PROVIDERS__NOWHERE__BASE_URL" in (caught.value.hint or "")


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    model_server: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        settings = Settings(_env_file=None, openai_base_url=model_server.url, openai_api_key=None)
        providers = ModelProviders(settings)
        assert (await providers.complete(ask())).text == "sample answer"
        await providers.aclose()


async def test_texts_that_utf8_cannot_carry_come_back_clean(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    model_server.always(does.lone_surrogates())
    assert (await providers.complete(ask())).text == '{"text": "a?b"}'


async def test_an_account_without_credit_is_not_asked_again(
    providers: ModelProviders, model_server: FakeModelServer
) -> None:
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
    model_server.always(does.raw(body, code=429))
    found = await refused(providers)
    assert isinstance(found, ModelRejected) and "no credit" in (found.hint or "")


async def test_the_idempotency_key_goes_with_the_call(providers: ModelProviders, model_server: FakeModelServer) -> None:
    await providers.complete(ask(idempotency_key="exec-1:ask"))
    headers = {name.lower(): value for name, value in model_server.calls()[0].headers.items()}
    assert headers["idempotency-key"] == "exec-1:ask"


async def test_the_cost_of_a_refused_answer_is_known(providers: ModelProviders, model_server: FakeModelServer) -> None:
    model_server.always(does.text("cut", finish_reason="length"))
    found = await refused(providers)
    assert found.usage is not None and (found.usage.input_tokens, found.usage.output_tokens) == model_server.charged()
