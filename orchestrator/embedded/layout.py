"""Where a local stack keeps its state: one folder, `.orchestrator` unless `ORCHESTRATOR_HOME` names another."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ValidationError


class StackRunning(Exception):
    """Another process runs a stack on the same folder."""


class Endpoints(BaseModel):
    """Where the parts of a running stack are.

    Attributes:
        api: `http://host:port`, without a path.
        temporal: host:port of the gRPC frontend.
        temporal_namespace: the namespace of the executions.
        temporal_ui: URL of the Web UI; None when an external Temporal's is unknown.
        redis: URL.
        qdrant: URL, or None when vectors are embedded in the worker.
        model: URL of the OpenAI protocol, ending in `/v1`.
        worker_metrics: URL of the worker's metrics, for Prometheus.
        api_pid: the serving process itself.
        worker_pid: the serving process itself.
    """

    api: str
    temporal: str
    temporal_namespace: str
    temporal_ui: str | None
    redis: str
    qdrant: str | None
    model: str
    worker_metrics: str | None = None
    api_pid: int | None = None
    worker_pid: int | None = None


@dataclass(frozen=True)
class Layout:
    """The files of one stack."""

    home: Path

    @classmethod
    def current(cls) -> Layout:
        """The folder that this process's environment and working directory mean."""
        return cls(Path(os.environ.get("ORCHESTRATOR_HOME") or ".orchestrator").absolute())

    @property
    def endpoints_path(self) -> Path:
        """Where scripts find the running stack."""
        return self.home / "endpoints.json"

    @property
    def lock_path(self) -> Path:
        """Held (flock) by the process that runs the stack."""
        return self.home / "lock"

    def log(self, name: str) -> Path:
        """The log file of one part."""
        return self.home / "logs" / f"{name}.log"

    def write_endpoints(self, endpoints: Endpoints) -> None:
        """Replace `endpoints.json` at once: a reader sees the old file or the new one, never a part of it."""
        temporary = self.endpoints_path.with_suffix(".json.new")
        # It may carry the Redis password.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(endpoints.model_dump_json(indent=2) + "\n")
        temporary.replace(self.endpoints_path)

    def read_endpoints(self) -> Endpoints | None:
        """What a stack wrote last; None when there is no readable file."""
        try:
            return Endpoints.model_validate_json(self.endpoints_path.read_bytes())
        except (OSError, ValidationError):
            return None

    def lock(self) -> IO[str]:
        """Take the folder for this process; the lock ends with the returned file or the process.

        Raises:
            StackRunning: another process holds it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.lock_path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StackRunning(self._running_message(holder)) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file

    def is_running(self) -> bool:
        """Whether some process runs a stack on this folder now."""
        if not self.lock_path.exists():
            return False
        with self.lock_path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _running_message(self, holder: str) -> str:
        endpoints = self.read_endpoints()
        where = f", API at {endpoints.api}" if endpoints else ""
        return (
            f"a stack already runs on {self.home} (process {holder}{where}). Stop it with ctrl-C where it runs, "
            f"or give this one a folder of its own with ORCHESTRATOR_HOME."
        )
