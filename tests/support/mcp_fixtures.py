"""MCP servers of tests: settings that start one as a program, and one that serves HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.embedded.ports import LOOPBACK
from orchestrator.settings import McpServerSettings
from tests.support.polling import wait_for
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


def program(behaviour: str = "tools", **fields: Any) -> McpServerSettings:
    """The settings of a server that speaks over its standard input and output."""
    env = {"PYTHONPATH": str(ROOT), **fields.pop("env", {})}
    args = ["-m", "tests.fakes.mcp_servers", behaviour]
    return McpServerSettings(command=sys.executable, args=args, cwd=ROOT, env=env, **fields)


@contextmanager
def serving_http(port: int | None = None) -> Iterator[tuple[str, int]]:
    """A server of streamable HTTP; gives its URL and its process."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.fakes.mcp_servers", "tools", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), seconds=30, what="the MCP server")
        yield f"http://{LOOPBACK}:{port}/mcp", process.pid
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    try:
        httpx2.get(f"http://{LOOPBACK}:{port}/none", trust_env=False)
    except httpx2.TransportError:
        return False
    return True
