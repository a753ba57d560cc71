"""Decides, part by part, what a local stack embeds and what it takes from the user's environment."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from orchestrator.embedded.layout import Endpoints, Layout
from orchestrator.embedded.model_server import DEFAULT_MODEL, model_server
from orchestrator.embedded.ports import LOOPBACK, PortClaims
from orchestrator.embedded.probes import answers_http, worker_pids
from orchestrator.embedded.process import ProcessSpec
from orchestrator.embedded.temporal import temporal
from orchestrator.embedded.valkey import valkey
from orchestrator.settings import Settings, is_loopback

USUAL_PORTS = {"temporal": 7233, "temporal_ui": 8233, "redis": 6379, "model": 8081, "worker_metrics": 9464}
READY_PATH = "/api/v1/health/ready"
CODEC_PATH = "/api/v1/codec"
OPENAI_URL = "https://api.openai.com/v1"
GRACEFUL_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class External:
    """A server of the user's that stands in for an embedded part."""

    part: str
    where: str
    variable: str
    address: tuple[str, int] | None = None

    @property
    def note(self) -> str:
        """The line that says so."""
        return f"Using {self.part} at {self.where} ({self.variable}) instead of the embedded one."


@dataclass(frozen=True)
class Plan:
    """What a stack will run: decided once, so that ports stay the same when a part is restarted."""

    servers: tuple[ProcessSpec, ...]
    services: tuple[ProcessSpec, ...]
    endpoints: Endpoints
    externals: tuple[External, ...]
    notes: tuple[str, ...] = ()
    """What else a person should know, a line each."""


def plan_stack(settings: Settings, layout: Layout, ports: PortClaims) -> Plan:
    """Choose parts, ports and the environment of the worker and the API.

    Args:
        settings: say which parts the user brings.
        layout: the folder of the stack's state.
        ports: claims those that the stack will listen on.

    Raises:
        MissingPart: a package of the extra `local` is absent.
    """
    return _Planner(settings, layout, ports).plan()


def uses_demo_model(settings: Settings) -> bool:
    """Whether models are asked at the embedded server: nobody named another by OPENAI_BASE_URL or OPENAI_API_KEY."""
    return settings.model_fields_set.isdisjoint({"openai_base_url", "openai_api_key"})


class _Planner:
    """Goes through the parts, gathering what the worker and the API must know."""

    def __init__(self, settings: Settings, layout: Layout, ports: PortClaims) -> None:
        self.settings = settings
        self.layout = layout
        self.servers: list[ProcessSpec] = []
        self.externals: list[External] = []
        self.environment: dict[str, str | None] = {"PYTHONUNBUFFERED": "1"}
        self._ports = ports

    def plan(self) -> Plan:
        api_port = self._ports.choose(self.settings.api_port)
        host = LOOPBACK if self.settings.api_host in {"0.0.0.0", "::", "localhost"} else self.settings.api_host
        self.environment |= {"API_HOST": self.settings.api_host, "API_PORT": str(api_port)}
        is_open = self._access()
        redis = self._redis()
        # A Web UI without a key would be refused at every payload.
        temporal_address, temporal_ui = self._temporal(f"http://{host}:{api_port}{CODEC_PATH}" if is_open else None)
        model = self._model()
        qdrant = self._qdrant()
        self._examples()
        if "worker_graceful_shutdown_seconds" not in self.settings.model_fields_set:
            self.environment["WORKER_GRACEFUL_SHUTDOWN_SECONDS"] = str(GRACEFUL_STOP_SECONDS)
        metrics = self._metrics()
        endpoints = Endpoints(
            api=f"http://{host}:{api_port}",
            temporal=temporal_address,
            temporal_namespace=self.settings.temporal_namespace,
            temporal_ui=temporal_ui,
            redis=redis,
            qdrant=qdrant,
            model=model,
            worker_metrics=f"http://{metrics}/metrics",
        )
        leases = self.settings.model_copy(update={"redis_url": redis})
        services = tuple(self._service(name, host, api_port, leases) for name in ("worker", "api"))
        notes = (*(external.note for external in self.externals), *self._port_note(api_port))
        return Plan(tuple(self.servers), services, endpoints, tuple(self.externals), notes)

    def _port_note(self, port: int) -> tuple[str, ...]:
        wanted = self.settings.api_port
        if port == wanted:
            return ()
        return (f"Port {wanted} is taken; the API listens on {port}. API_PORT names another.",)

    def _access(self) -> bool:
        """Open the API on loopback, unless somebody wants keys there; whether it is open."""
        if self._is_set("api_auth"):
            return self.settings.api_auth == "off"
        is_open = is_loopback(self.settings.api_host)
        self.environment["API_AUTH"] = "off" if is_open else "on"
        return is_open

    def _is_set(self, name: str) -> bool:
        return name in self.settings.model_fields_set

    def _redis(self) -> str:
        if self._is_set("redis_url"):
            parts = urlsplit(self.settings.redis_url)
            # A Unix socket's URL has a path and no host; whether it answers shows when the services connect.
            address = (parts.hostname, parts.port or 6379) if parts.hostname else None
            where = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
            self.externals.append(External("Redis", where, "REDIS_URL", address))
            return self.settings.redis_dsn
        secret = self.settings.redis_password
        password = secret.get_secret_value() if secret else None
        port = self._ports.choose(USUAL_PORTS["redis"])
        self.servers.append(valkey(self.layout.home / "redis", port, self.layout.log("redis"), password=password))
        login = f":{quote(password, safe='')}@" if password else ""
        self.environment["REDIS_URL"] = url = f"redis://{login}{LOOPBACK}:{port}"
        return url

    def _temporal(self, codec_url: str | None) -> tuple[str, str | None]:
        settings = self.settings
        if self._is_set("temporal_address"):
            host, _, port = settings.temporal_address.rpartition(":")
            target = (host.strip("[]"), int(port)) if host and port.isdigit() else None
            self.externals.append(External("Temporal", settings.temporal_address, "TEMPORAL_ADDRESS", target))
            return settings.temporal_address, settings.temporal_ui_url
        own_port, ui_port = self._ports.choose(USUAL_PORTS["temporal"]), self._ports.choose(USUAL_PORTS["temporal_ui"])
        database = self.layout.home / "temporal" / "temporal.db"
        log = self.layout.log("temporal")
        namespace = settings.temporal_namespace
        self.servers.append(temporal(database, own_port, ui_port, log, namespace=namespace, codec_url=codec_url))
        address, ui = f"{LOOPBACK}:{own_port}", f"http://{LOOPBACK}:{ui_port}"
        self.environment |= {"TEMPORAL_ADDRESS": address, "TEMPORAL_UI_URL": ui}
        return address, ui

    def _model(self) -> str:
        if not uses_demo_model(self.settings):
            variable = "OPENAI_BASE_URL" if self._is_set("openai_base_url") else "OPENAI_API_KEY"
            url = (self.settings.openai_base_url or OPENAI_URL).rstrip("/")
            self.externals.append(External("the model server", url, variable))
            return url
        port = self._ports.choose(USUAL_PORTS["model"])
        self.servers.append(model_server(port, self.layout.log("model")))
        url = f"http://{LOOPBACK}:{port}/v1"
        self.environment |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "embedded-demo-model"}
        # The demo model's chat template knows no tools.
        self.environment["PROVIDERS__OPENAI__TOOLS"] = "prompted"
        if not self._is_set("default_model"):
            self.environment["DEFAULT_MODEL"] = DEFAULT_MODEL
        return url

    def _qdrant(self) -> str | None:
        if self.settings.qdrant_url:
            self.externals.append(External("Qdrant", self.settings.qdrant_url, "QDRANT_URL"))
            return self.settings.qdrant_url
        if not self._is_set("qdrant_path"):
            self.environment["QDRANT_PATH"] = str(self.layout.home / "qdrant")
        return None

    def _examples(self) -> None:
        """Let the worker load the example agents and the tools that they name."""
        for kind in ("agents", "tools"):
            folders = [root / "examples" / kind for root in (Path.cwd(), Path(__file__).parents[2])]
            found = next((folder for folder in folders if folder.is_dir()), None)
            if found is not None and not self._is_set(f"{kind}_path"):
                self.environment[f"{kind.upper()}_PATH"] = str(found)

    def _metrics(self) -> str:
        """Where the worker serves its metrics."""
        address = self.settings.worker_metrics_address
        if address is None:
            address = f"{LOOPBACK}:{self._ports.choose(USUAL_PORTS['worker_metrics'])}"
            self.environment["WORKER_METRICS_ADDRESS"] = address
        return address

    def _service(self, name: str, host: str, port: int, redis: Settings) -> ProcessSpec:
        async def ready(pid: int) -> bool:
            serves = await answers_http(host, port, READY_PATH)
            # The lease of a worker that was killed a moment ago makes the API ready, too. Which workers there are, the
            # API tells nobody without a key.
            return serves and (name == "api" or pid in await worker_pids(redis))

        argv = [sys.executable, "-m", "orchestrator.cli", name]
        return ProcessSpec(
            name,
            argv,
            self.layout.log(name),
            ready,
            self.environment,
            start_seconds=120.0,
            stop_seconds=GRACEFUL_STOP_SECONDS + 5,
            # Each question makes the API ask Temporal and Redis.
            poll_seconds=0.2,
        )
