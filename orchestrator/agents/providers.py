"""Model providers: everything that speaks OpenAI's Chat Completions, one call, never tried again here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from orchestrator.agents.answer_streams import StreamReader
from orchestrator.agents.answers import AnswerDraft, Completion, read_completion, token_usage
from orchestrator.agents.model_requests import Capabilities, ModelRequest, call_arguments, is_prompted
from orchestrator.agents.model_transport import CappedTransport
from orchestrator.agents.prompted_tools import read_choice
from orchestrator.agents.provider_errors import ResponseTooLarge, classify, timed_out
from orchestrator.agents.tool_call_parts import ModelToolCall
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import ModelRejected
from orchestrator.settings import Settings

__all__ = ["Capabilities", "ModelProviders", "ModelRequest"]

OFFICIAL_BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
NO_KEY = "none"
"""Sent to servers of one's own that ask for no key; the client insists on one."""


@dataclass(frozen=True, slots=True)
class _Provider:
    name: str
    base_url: str
    secret: str | None
    can: Capabilities
    client: openai.AsyncOpenAI

    @property
    def key_name(self) -> str:
        return _key_name(self.name)


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """How to reach a model's provider for anything but chat: `place` is its URL without credentials."""

    client: openai.AsyncOpenAI
    model: str
    place: str
    key_name: str
    secret: str | None


class _Call:
    """One request to a provider."""

    def __init__(
        self, provider: _Provider, label: str, arguments: dict[str, Any], on_delta: Callable[[str], None] | None
    ) -> None:
        self._provider = provider
        self._label = label
        self._arguments = arguments
        self._on_delta = on_delta
        self._draft = AnswerDraft()
        self.told = False
        """Whether the answer came as a stream, so that its text has been passed on."""

    async def made(self, timeout_seconds: float, stall_seconds: float) -> Completion:
        """Return the answer; a failure is classified and has the usage that was told before it."""
        provider = self._provider
        try:
            async with asyncio.timeout(timeout_seconds):
                if self._arguments.get("stream"):
                    return await self._streamed(stall_seconds)
                response = await provider.client.chat.completions.with_raw_response.create(**self._arguments)
                return read_completion(response.content, label=self._label, secret=provider.secret)
        except TimeoutError:
            raise self._charged(timed_out(self._label)) from None
        except OrchestratorError as error:
            raise self._charged(error) from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ResponseTooLarge) as error:
            # The cause holds the request with its Authorization header: it must not reach a log.
            found = classify(error, label=self._label, key_name=provider.key_name, secret=provider.secret)
            raise self._charged(found) from None

    async def _streamed(self, stall_seconds: float) -> Completion:
        label, secret = self._label, self._provider.secret
        create = self._provider.client.chat.completions.with_streaming_response.create
        async with create(**self._arguments) as response:
            if "text/event-stream" not in response.headers.get("content-type", "").lower():
                return read_completion(await response.read(), label=label, secret=secret)
            self.told = True
            assert self._on_delta is not None
            reader = StreamReader(self._draft, self._on_delta, label=label, stall_seconds=stall_seconds, secret=secret)
            return await reader.read(response.iter_bytes())

    def _charged(self, error: OrchestratorError) -> OrchestratorError:
        if error.usage is None and isinstance(self._draft.usage, dict):
            error.usage = token_usage(self._draft.usage)
        return error


class ModelProviders:
    """The configured providers. Nothing is opened before the first call, and no call is made to find out anything.

    Base URLs come from the settings alone, never from a definition, a record or a request: the operator trusts these
    hosts, so calls to them do not pass the HTTP guard (a model server may stand on a private address).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, _Provider] = {}

    async def complete(self, request: ModelRequest) -> Completion:
        """Make one model call. An error that comes after the answer has the answer's `usage`.

        Raises:
            ModelUnavailable: no connection, 5xx, 408 or 409; a stream that stalls, breaks off or ends in an error.
            ModelRateLimited: 429.
            ModelRejected: another 4xx, an unknown provider, a missing key, tools for a provider that takes none.
            ModelBadResponse: an answer that does not speak the protocol.
            AttemptTimeout: no answer within `timeout_seconds`.
        """
        provider, model = self._resolve(request.model)
        prompted = is_prompted(request, provider.can)
        stream = request.on_delta is not None and provider.can.streaming and not prompted
        arguments = call_arguments(request, model, provider.can, stream=stream)
        call = _Call(provider, f"model '{request.model}' at {_place(provider.base_url)}", arguments, request.on_delta)
        completion = await call.made(request.timeout_seconds, self._settings.model_stall_seconds)
        if prompted:
            completion = _chosen(completion)
        if request.on_delta is not None and not call.told and completion.text:
            request.on_delta(completion.text)
        return completion

    def capabilities(self, model: str) -> Capabilities:
        """Return what the model's provider can.

        Raises:
            ModelRejected: no such provider is configured.
        """
        return self._resolve(model)[0].can

    def connection(self, model: str) -> ProviderConnection:
        """Return the connection to the provider of `provider/model`; its `model` is what the provider calls it.

        Raises:
            ModelRejected: an unknown provider, or a missing key.
        """
        provider, name = self._resolve(model)
        return ProviderConnection(provider.client, name, _place(provider.base_url), provider.key_name, provider.secret)

    async def aclose(self) -> None:
        """Close every connection."""
        for provider in self._open.values():
            await provider.client.close()
        self._open.clear()

    def _resolve(self, model: str) -> tuple[_Provider, str]:
        name, separator, rest = model.partition("/")
        if not separator or not name or not rest:
            hint = "write it as provider/model, such as openai/gpt-5-mini"
            raise ModelRejected(f"model '{model}' names no provider", hint=hint)
        if name not in self._open:
            self._open[name] = self._connect(name)
        return self._open[name], rest

    def _connect(self, name: str) -> _Provider:
        base_url, secret, can = self._configured(name)
        http = httpx2.AsyncClient(
            transport=CappedTransport(self._settings.http_max_response_bytes),
            # Neither proxies nor certificates nor credentials from the environment: the settings decide alone.
            trust_env=False,
            follow_redirects=False,
        )
        client = openai.AsyncOpenAI(
            api_key=secret or NO_KEY,
            base_url=base_url,
            max_retries=0,
            http_client=http,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            # A compressed body would be counted before it is unpacked.
            default_headers={"Accept-Encoding": "identity"},
        )
        return _Provider(name, base_url, secret, can, client)

    def _configured(self, name: str) -> tuple[str, str | None, Capabilities]:
        named = {key.lower(): value for key, value in self._settings.providers.items()}.get(name.lower())
        secret = named.api_key if named else None
        base_url = named.base_url if named else None
        if name.lower() == "openai":
            secret = secret or self._settings.openai_api_key
            base_url = base_url or self._settings.openai_base_url or OFFICIAL_BASE_URL
        if base_url is None:
            setting = _key_name(name).replace("API_KEY", "BASE_URL")
            raise ModelRejected(f"no model provider '{name}' is configured", hint=f"set {setting} (and its API_KEY)")
        _check_base_url(base_url, _key_name(name).replace("API_KEY", "BASE_URL"))
        key = secret.get_secret_value() if secret else None
        if not key and urlsplit(base_url).hostname == "api.openai.com":
            raise ModelRejected(
                f"{_key_name(name)} is not set, and {base_url} asks for a key",
                hint=f"set {_key_name(name)}, or OPENAI_BASE_URL to a model server of your own",
            )
        official = urlsplit(base_url).hostname == "api.openai.com"
        if named is None:
            return base_url, key, Capabilities(official)
        structured = named.structured_output is not False
        return base_url, key, Capabilities(official, structured, named.tools, named.streaming)


def _chosen(completion: Completion) -> Completion:
    """Return the answer of a model that was offered tools in its prompt, as a native one would give it."""
    text, call = read_choice(completion.text)
    if call is None:
        return replace(completion, text=text or "")
    return replace(completion, text="", tool_calls=(ModelToolCall("call_0", *call),), finish_reason="tool_calls")


def _key_name(provider: str) -> str:
    return "OPENAI_API_KEY" if provider.lower() == "openai" else f"PROVIDERS__{provider.upper()}__API_KEY"


def _check_base_url(base_url: str, setting: str) -> None:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        # The path of each call is put behind the whole.
        sound = sound and not parts.query and not parts.fragment
        httpx2.URL(base_url)
    except (ValueError, httpx2.InvalidURL):
        sound = False
    if not sound:
        raise ModelRejected(
            f"{setting} is not an http(s) URL without a query",
            hint=f"set {setting} to something like {OFFICIAL_BASE_URL}",
        )


def _place(base_url: str) -> str:
    """Return the URL without credentials, query and fragment."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
