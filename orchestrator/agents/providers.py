"""Model providers: everything that speaks OpenAI's Chat Completions, one call, never tried again here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from orchestrator.agents.answers import Completion, read_completion
from orchestrator.agents.prompts import schema_instruction
from orchestrator.agents.provider_errors import ResponseTooLarge, classify, timed_out
from orchestrator.execution.errors import ModelRejected
from orchestrator.settings import Settings

OFFICIAL_BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
MOST_CONNECTIONS = 1000
NO_KEY = "none"
"""Sent to servers of one's own that ask for no key; the client insists on one."""
_REASONING_MODEL = re.compile(r"^(o\d|gpt-5)")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One chat completion.

    Attributes:
        model: `provider/model`.
        messages: role and content, in order.
        output_schema: asked of the provider as `response_format` where it can.
        schema_name: the schema's name for the provider.
        timeout_seconds: for the whole call.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    output_schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    temperature: float | None = None
    max_output_tokens: int | None = None
    timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class _Provider:
    name: str
    base_url: str
    secret: str | None
    structured_output: bool
    client: openai.AsyncOpenAI

    @property
    def key_name(self) -> str:
        return _key_name(self.name)

    @property
    def official(self) -> bool:
        return urlsplit(self.base_url).hostname == "api.openai.com"


class ModelProviders:
    """The configured providers. Nothing is opened before the first call, and no call is made to find out anything."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, _Provider] = {}

    async def complete(self, request: ModelRequest) -> Completion:
        """Make one model call.

        Raises:
            ModelUnavailable: no connection, 5xx, 408 or 409.
            ModelRateLimited: 429.
            ModelRejected: another 4xx, an unknown provider, a missing key.
            ModelBadResponse: an answer that does not speak the protocol.
            AttemptTimeout: no answer within `timeout_seconds`.
        """
        provider, model = self._resolve(request.model)
        label = f"model '{request.model}' at {_place(provider.base_url)}"
        try:
            async with asyncio.timeout(request.timeout_seconds):
                response = await provider.client.chat.completions.with_raw_response.create(
                    **_arguments(provider, model, request)
                )
        except TimeoutError:
            raise timed_out(label) from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ResponseTooLarge) as error:
            # The cause holds the request with its Authorization header: it must not reach a log.
            raise classify(error, label=label, key_name=provider.key_name, secret=provider.secret) from None
        return read_completion(response.content, label=label)

    def structured_output(self, model: str) -> bool:
        """Return whether the model's provider enforces a JSON Schema by itself."""
        return self._resolve(model)[0].structured_output

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
        base_url, secret, structured = self._configured(name)
        http = httpx2.AsyncClient(
            transport=_CappedTransport(self._settings.http_max_response_bytes),
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
        return _Provider(name, base_url, secret, structured, client)

    def _configured(self, name: str) -> tuple[str, str | None, bool]:
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
        return base_url, key, not (named and named.structured_output is False)


def _arguments(provider: _Provider, model: str, request: ModelRequest) -> dict[str, Any]:
    messages = [dict(message) for message in request.messages]
    arguments: dict[str, Any] = {"model": model, "messages": messages}
    reasoning = provider.official and _REASONING_MODEL.match(model)
    # OpenAI's reasoning models refuse a temperature (400); its API calls the bound max_completion_tokens.
    if request.temperature is not None and not reasoning:
        arguments["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        arguments["max_completion_tokens" if provider.official else "max_tokens"] = request.max_output_tokens
    if request.output_schema is None:
        return arguments
    if provider.structured_output:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", request.schema_name)[:64] or "answer"
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": dict(request.output_schema)},
        }
    else:
        messages.insert(0, schema_instruction(request.output_schema))
    return arguments


def _key_name(provider: str) -> str:
    return "OPENAI_API_KEY" if provider.lower() == "openai" else f"PROVIDERS__{provider.upper()}__API_KEY"


def _check_base_url(base_url: str, setting: str) -> None:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        httpx2.URL(base_url)
    except (ValueError, httpx2.InvalidURL):
        sound = False
    if not sound:
        raise ModelRejected(
            f"{setting} is not an http(s) URL", hint=f"set {setting} to something like {OFFICIAL_BASE_URL}"
        )


def _place(base_url: str) -> str:
    """Return the URL without credentials, query and fragment."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


class _CappedTransport(httpx2.AsyncHTTPTransport):
    """Ends a response that grows over the limit, instead of holding it in memory."""

    def __init__(self, most_bytes: int) -> None:
        limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=100)
        super().__init__(trust_env=False, limits=limits)
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _CappedStream(response.stream, self._most_bytes)
        return response


class _CappedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise ResponseTooLarge(f"the response has over {self._most_bytes:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
