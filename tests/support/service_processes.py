"""The service as it is deployed: Redis, Temporal, worker and API as processes, each of which a test may kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from redis import Redis

from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import ProcessSpec, signal_group, stop
from orchestrator.embedded.temporal import temporal
from orchestrator.embedded.valkey import valkey
from orchestrator.settings import Settings
from tests.support.commands import ROOT
from tests.support.polling import wait_for
from tests.support.ports import free_port

READY_SECONDS = 90.0


class Part:
    """One process: started, killed, frozen, started again on the same port and folder."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.spec.name} was never started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        assert not self.runs, f"{self.spec.name} runs already"
        self._process = self.spec.launch()

    def wait_ready(self) -> None:
        """Wait until it serves."""
        assert self._process is not None
        with asyncio.Runner() as runner:
            runner.run(self.spec.wait_ready(self._process))

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        signal_group(self._process, signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from doing anything while the block runs: its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            # Its threads stop one after the other.
            wait_for(self._stands_still, 10, f"{self.spec.name} standing still")
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _stands_still(self) -> bool:
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process is not None:
            stop(self._process, self.spec.stop_seconds)


class Services:
    """The four processes of one deployment.

    Args:
        folder: their state and logs.
        model_url: the model server's, ending in /v1.
        variables: further settings of worker and API, by environment name.
    """

    def __init__(self, folder: Path, model_url: str, variables: Mapping[str, str]) -> None:
        redis_port, temporal_port, ui_port, api_port = (free_port() for _ in range(4))
        self.folder = folder
        self.redis_url = f"redis://{LOOPBACK}:{redis_port}"
        self.temporal_address = f"{LOOPBACK}:{temporal_port}"
        self.temporal_ui = f"http://{LOOPBACK}:{ui_port}"
        self.model_url = model_url
        self.api_url = f"http://{LOOPBACK}:{api_port}"
        self.environment = {
            "REDIS_URL": self.redis_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_UI_URL": self.temporal_ui,
            "OPENAI_BASE_URL": model_url,
            "OPENAI_API_KEY": "sk-acceptance",
            "QDRANT_PATH": str(folder / "qdrant"),
            "AGENTS_PATH": str(ROOT / "examples" / "agents"),
            "API_PORT": str(api_port),
            "API_AUTH": "off",
            "WORKER_GRACEFUL_SHUTDOWN_SECONDS": "1",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        self.redis = Part(valkey(folder / "redis", redis_port, folder / "redis.log"))
        self.temporal = Part(temporal(folder / "temporal.db", temporal_port, ui_port, folder / "temporal.log"))
        self.worker = Part(self._service("worker"))
        self.api = Part(self._service("api"))
        key = variables.get("API_BOOTSTRAP_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx2.Client(base_url=f"{self.api_url}/api/v1", timeout=30, trust_env=False, headers=headers)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.redis, self.temporal, self.worker, self.api)

    @property
    def settings(self) -> Settings:
        """Settings of a client of these services, in this process."""
        return Settings(_env_file=None, redis_url=self.redis_url, temporal_address=self.temporal_address)

    def make_whole(self) -> None:
        """Start what does not run and wait until executions can run with the present worker."""
        for part in self.parts:
            if not part.runs:
                part.launch()
        wait_for(self._serves, READY_SECONDS, "readiness of the services")

    def forget_calls(self) -> None:
        """Forget how agents' and dependencies' calls went, so that no test is judged by the failures of another."""
        prefix = self.settings.redis_key_prefix
        with Redis.from_url(self.redis_url) as redis:
            for pattern in (f"{{{prefix}:agent-calls:*", f"{{{prefix}:breakers}}:*"):
                if found := list(redis.scan_iter(pattern, count=1000)):
                    redis.delete(*found)

    def stop(self) -> None:
        """End everything, the services before the servers."""
        self.http.close()
        for part in reversed(self.parts):
            part.stop()

    def _service(self, name: str) -> ProcessSpec:
        async def ready(_: int) -> bool:
            return self._serves()

        # Settings of whoever runs the tests must not reach the processes.
        cleared: dict[str, str | None] = {field.upper(): None for field in Settings.model_fields}
        argv = [sys.executable, "-m", "orchestrator.cli", name]
        return ProcessSpec(name, argv, self.folder / f"{name}.log", ready, {**cleared, **self.environment})

    def _serves(self) -> bool:
        for part in self.parts:
            assert part.runs, f"{part.spec.name} ended; see {part.spec.log_path}"
        try:
            answer = self.http.get("/health/ready", timeout=2)
        except httpx2.HTTPError:
            return False
        workers: list[dict[str, Any]] = answer.json()["parts"]["worker"].get("workers") or []
        # The lease of a killed worker takes a while to run out.
        return answer.status_code == 200 and self.worker.pid in {worker["pid"] for worker in workers}


@contextmanager
def running_services(folder: Path, model_url: str, **variables: str) -> Iterator[Services]:
    """The service, ready; ended with the block. A machine that stalls gets a second try."""
    services = Services(folder / "first", model_url, variables)
    try:
        try:
            services.make_whole()
        except AssertionError:
            services.stop()
            services = Services(folder / "second", model_url, variables)
            services.make_whole()
        yield services
    finally:
        services.stop()
