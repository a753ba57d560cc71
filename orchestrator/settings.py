"""All settings of every process, read once from the environment and `.env` by the composition roots."""

from __future__ import annotations

import ipaddress
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ProviderSettings(BaseModel):
    """One named model provider that speaks the OpenAI protocol: `PROVIDERS__<NAME>__BASE_URL`, `…__API_KEY`."""

    base_url: str | None = None
    api_key: SecretStr | None = None
    structured_output: bool | None = None
    """Whether the provider takes `response_format: json_schema`; None: assume it does."""
    tools: Literal["native", "prompted", "none"] = "native"
    """How it takes tools: as the protocol says; put into the prompt and the answer's schema; not at all."""
    streaming: bool = True
    """Whether it streams answers and reports usage in a stream (`stream_options.include_usage`)."""
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    """Bounds of all workers together; None: unbounded."""


class ModelPrice(BaseModel):
    """What a model costs, in US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid")

    input_per_million: float = Field(ge=0, allow_inf_nan=False)
    output_per_million: float = Field(ge=0, allow_inf_nan=False)
    cached_input_per_million: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of input tokens from the provider's cache; None: as other input."""


class McpServerSettings(BaseModel):
    """One MCP server that agents and `tool_call` steps may use: `MCP_SERVERS__<NAME>__URL` or `…__COMMAND`."""

    url: str | None = None
    """Streamable HTTP endpoint."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    command: str | None = None
    """Program that speaks MCP over its standard input and output; it lives as long as the worker."""
    args: list[str] = Field(default_factory=list)
    env: dict[str, SecretStr] = Field(default_factory=dict)
    """All that the program sees of the environment, besides PATH, HOME, USER, LOGNAME, SHELL and TERM."""
    cwd: Path | None = None
    connect_seconds: float = Field(15.0, gt=0, le=600)
    call_seconds: float = Field(60.0, gt=0, le=86_400)
    max_concurrent_calls: int = Field(16, ge=1, le=1000)
    requires_approval: list[str] = Field(default_factory=list)
    """Tools, by their names on the server, whose calls people must agree to; `*` is all of them."""

    @model_validator(mode="after")
    def _one_transport(self) -> McpServerSettings:
        if (self.url is None) == (self.command is None):
            raise ValueError("an MCP server takes exactly one of URL and COMMAND")
        return self


class Settings(BaseSettings):
    """The settings of the API, the worker, the command line and the local stack.

    Names are the environment's, in upper case. Durations are seconds, sizes are bytes.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_nested_delimiter="__", extra="ignore", env_ignore_empty=True
    )

    environment: str = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["json", "console"] = "console"
    sentry_dsn: SecretStr | None = None
    otel_exporter_otlp_endpoint: str | None = None
    """Base URL of an OpenTelemetry collector (OTLP over HTTP) that takes traces; absent: none are made."""

    temporal_address: str = "localhost:7233"
    temporal_namespace: str = "default"
    temporal_task_queue: str = "agent-workflows"
    temporal_api_key: SecretStr | None = None
    temporal_tls: bool = False
    temporal_tls_server_ca: Path | None = None
    temporal_tls_client_cert: Path | None = None
    temporal_tls_client_key: Path | None = None
    temporal_ui_url: str | None = None

    redis_url: str = "redis://localhost:6379"
    redis_password: SecretStr | None = None
    redis_key_prefix: str = "orchestrator"

    qdrant_url: str | None = None
    qdrant_api_key: SecretStr | None = None
    qdrant_path: Path | None = None
    """Folder of the embedded vector store, used when `QDRANT_URL` is absent. One process owns it: the worker."""

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    default_model: str = "openai/gpt-5-mini"
    """`provider/model` used by agent records that name none."""
    embedding_model: str = Field("embedded/minilm", pattern=r"^[A-Za-z0-9_-]+/.+$")
    """`provider/model` that embeds texts; `embedded/minilm` comes with the extra `local`. Vectors of two models do not
    compare: with another model, fill the collections anew."""
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    model_prices: dict[str, ModelPrice] = Field(default_factory=dict)
    """By `provider/model`, or by its beginning and `*`. None are built in: prices change, and a wrong one is worse."""
    model_stall_seconds: float = Field(60.0, gt=0)
    """How long a streamed answer may pause once it has begun."""

    secrets_path: Path | None = None
    """Folder with one file per secret of definitions, read again for each request."""

    stream_tokens: bool = True
    """Stream model answers and show their text to watchers of the execution as it arrives."""

    callback_signing_secret: SecretStr | None = None
    """Signs callbacks of starts that name no secret: `whsec_` and base64, or any text."""

    http_allow_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts and CIDRs exempt from the HTTP guard's address and port rules, comma-separated."""
    http_max_response_bytes: int = 10 * 1024 * 1024

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    api_body_limit_bytes: int = 2 * 1024 * 1024
    api_public_url: str | None = None
    api_auth: Literal["on", "off"] = "on"
    """`off` lets everybody in, and is refused where `API_HOST` is not loopback; the local stack sets it."""
    api_bootstrap_key: SecretStr | None = Field(None, min_length=32)
    """A key with the role admin, for making the first ones. Unset it then."""
    api_key_pepper: SecretStr | None = Field(None, min_length=32)
    """Keys are kept as HMACs under it; absent, one is made and kept in Redis. Changing it invalidates all keys."""
    api_requests_per_minute: int = Field(6000, ge=1, le=1_000_000)
    """Of one key, over all API processes; a sixth of it at once."""
    api_hooks_per_minute: int = Field(6000, ge=1, le=1_000_000)
    """Genuine messages to the hook of one workflow, over all API processes; a sixth of it at once."""
    api_failures_per_minute: int = Field(20, ge=1)
    """Failed attempts to authenticate from one address, with one key or to one hook, before it is told to wait."""
    api_codec_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of Temporal Web UIs whose pages may ask the codec; absent, that of `TEMPORAL_UI_URL`."""
    api_audit_entries: int = Field(100_000, ge=100, le=10_000_000)
    """Entries that the audit log keeps, about."""

    worker_max_concurrent_activities: int = 1000
    worker_max_concurrent_workflow_tasks: int = 100
    worker_max_cached_workflows: int = 1000
    worker_graceful_shutdown_seconds: float = 30.0
    worker_sandboxed: bool = False
    worker_metrics_address: str | None = Field(None, pattern=r"^.+:\d{1,5}$")
    """host:port where the worker serves metrics for Prometheus; absent: nowhere."""

    claim_store: Literal["redis", "file", "s3", "none"] = "redis"
    """Where values over the threshold are kept. All workers and APIs of one namespace share one store."""
    claim_store_path: Path | None = None
    """Folder of the `file` store, on a disk that every process sees: one machine only."""
    claim_s3_bucket: str | None = None
    """Bucket of the `s3` store. Credentials are found as every AWS client finds them, in the process's environment."""
    claim_s3_prefix: str = "orchestrator"
    """What the names of its objects begin with; values are under `<prefix>/claims/`."""
    claim_s3_endpoint_url: str | None = None
    """Address of another server that speaks the protocol of S3."""
    claim_s3_region: str | None = None
    """Region of the bucket, where the environment does not say it."""
    claim_threshold_bytes: int = Field(128 * 1024, ge=128 * 1024, le=1024 * 1024)
    """A value of this size or more is kept in the claim store, its reference in the history.

    Not less: what workers of other task queues are sent, up to 127 KiB, must stay in the history."""
    claim_max_bytes: int = Field(10 * 1024 * 1024, ge=1024 * 1024, le=64 * 1024 * 1024)
    """A larger start or activity result is the error `payload-too-large`."""
    claim_retention_days: int = Field(30, ge=1)
    """The namespace's retention. A claim is kept seven days longer than this after its last use."""

    breaker_least_calls: int = Field(20, ge=1)
    breaker_failure_rate: float = Field(0.5, gt=0, le=1)
    breaker_window_seconds: float = Field(30.0, gt=0)
    breaker_open_seconds: float = Field(10.0, gt=0)
    """A dependency's circuit opens when of at least so many calls in the window this share failed."""

    concurrency_check_seconds: float = Field(300.0, gt=0)
    """How often a concurrency gate looks for holders that closed without giving their place back."""

    agents_path: Path | None = None
    """Folder of agent records (`*.json`) that the worker loads at start where they do not exist yet."""

    tools_path: Path | None = None
    """Folder of tool records (`*.json`) that the worker loads at start where they do not exist yet."""
    mcp_servers: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")], McpServerSettings] = Field(
        default_factory=dict
    )
    """MCP servers by name, lower case: letters, digits, hyphens."""

    @field_validator("http_allow_hosts", "api_codec_origins", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("http_allow_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if "/" in entry:
                try:
                    ipaddress.ip_network(entry, strict=False)
                except ValueError as error:
                    raise ValueError(
                        f"HTTP_ALLOW_HOSTS entry {entry!r} is not a network; "
                        "write a host name, an address or a CIDR such as 10.0.0.0/8"
                    ) from error
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            # Not told as it is: it may have a password in it.
            raise ValueError("it is no address of a Redis; write it as redis://host:6379, or rediss:// for TLS")
        return value

    @field_validator(
        "qdrant_url", "openai_base_url", "api_public_url", "temporal_ui_url", "otel_exporter_otlp_endpoint"
    )
    @classmethod
    def _check_http_url(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("it is no address; write it as http://host:port or https://host")
        return value

    @field_validator("temporal_address")
    @classmethod
    def _check_temporal_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or "/" in host:
            raise ValueError(f"{value!r} is no address of a Temporal frontend; write it as host:7233, without a scheme")
        return value

    @model_validator(mode="after")
    def _claim_store_has_what_it_needs(self) -> Settings:
        if self.claim_store == "file" and self.claim_store_path is None:
            raise ValueError("CLAIM_STORE=file needs CLAIM_STORE_PATH, a folder that every process of the stack sees")
        if self.claim_store == "s3" and self.claim_s3_bucket is None:
            raise ValueError("CLAIM_STORE=s3 needs CLAIM_S3_BUCKET, a bucket that exists")
        if self.claim_store == "s3" and find_spec("aioboto3") is None:
            raise ValueError("CLAIM_STORE=s3 needs the package aioboto3: pip install 'agent-orchestrator[s3]'")
        return self

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Settings:
        if self.api_auth == "off" and not is_loopback(self.api_host):
            raise ValueError(
                f"API_AUTH=off is for the local stack on loopback, and API_HOST is {self.api_host}; "
                "leave API_AUTH out, and make a first key with `orchestrator keys create --direct` or API_BOOTSTRAP_KEY"
            )
        return self

    @property
    def redis_dsn(self) -> str:
        """`redis_url` with `redis_password` filled in where the URL carries none."""
        parts = urlsplit(self.redis_url)
        if self.redis_password is None or parts.password is not None:
            return self.redis_url
        secret = quote(self.redis_password.get_secret_value(), safe="")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{secret}@{host}"))


def is_loopback(host: str) -> bool:
    """Return whether a host, by name or address, can be this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def discover_settings(home: Path | None = None) -> Settings:
    """Return the settings of the environment, filled up with the addresses of the local stack that runs here.

    Args:
        home: the stack's folder; `ORCHESTRATOR_HOME`, else `.orchestrator` in the working folder.
    """
    settings = Settings()
    folder = home or Path(os.environ.get("ORCHESTRATOR_HOME", ".orchestrator"))
    try:
        endpoints = json.loads((folder / "endpoints.json").read_text())
    except (OSError, ValueError):
        return settings
    found = {
        "temporal_address": endpoints.get("temporal"),
        "temporal_namespace": endpoints.get("temporal_namespace"),
        "temporal_ui_url": endpoints.get("temporal_ui"),
        "redis_url": endpoints.get("redis"),
    }
    given = settings.model_fields_set
    return settings.model_copy(update={key: value for key, value in found.items() if value and key not in given})
