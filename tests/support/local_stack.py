"""The whole local stack as a person starts it: `orchestrator up` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.embedded.process import last_lines
from orchestrator.settings import Settings
from tests.support.commands import ROOT
from tests.support.polling import wait_for
from tests.support.ports import free_port

START_SECONDS = 90.0


def bare_environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's environment without our settings, for a stack with a folder of its own."""
    ours = {name.upper() for name in Settings.model_fields} | {"ORCHESTRATOR_API", "ORCHESTRATOR_TIED"}
    inherited = {key: value for key, value in os.environ.items() if key not in ours}
    return {**inherited, "ORCHESTRATOR_HOME": str(home), **variables}


@dataclass
class UpProcess:
    """A running `orchestrator up`."""

    process: subprocess.Popen[bytes]
    home: Path
    output_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def endpoints(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "endpoints.json").read_text())
        return found

    def is_ready(self) -> bool:
        """Whether executions can run; an `up` that ended fails the test with its last words."""
        assert self.process.poll() is None, f"`up` ended with {self.process.returncode}: {self.output}"
        try:
            return httpx2.get(f"{self.endpoints()['api']}/api/v1/health/ready", timeout=2).status_code == 200
        except (FileNotFoundError, httpx2.HTTPError):
            return False

    def log_tail(self, name: str) -> str:
        """The last lines of one part's log."""
        return last_lines(self.home / "logs" / f"{name}.log")

    def stop(self) -> int:
        """Ask it to end; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def launch_up(home: Path, **variables: str) -> UpProcess:
    """Start `orchestrator up` without waiting for it."""
    home.mkdir(parents=True, exist_ok=True)
    output = home / "up.out"
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "up"],
            cwd=ROOT,
            env=bare_environment(home, **variables),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return UpProcess(process, home, output)


@contextmanager
def running_stack(home: Path, **variables: str) -> Iterator[UpProcess]:
    """A stack that is ready; ended with the block, killed if it must be."""
    # A port of its own: the usual one may belong to a stack beside it.
    up = launch_up(home, **{"API_PORT": str(free_port()), **variables})
    try:
        try:
            wait_for(up.is_ready, START_SECONDS, "the stack's readiness")
        except AssertionError as error:
            error.add_note("\n".join(f"{name}: {up.log_tail(name)}" for name in ("api", "worker")))
            raise
        yield up
    finally:
        if up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(30)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()
