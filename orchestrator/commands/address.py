"""Finds the API that a command talks to."""

from __future__ import annotations

import os

from orchestrator.embedded.layout import Layout
from orchestrator.sdk import OrchestratorClient
from orchestrator.sdk.flows import NEVER, Retries

DEFAULT_API = "http://127.0.0.1:8000"


def api_address(given: str | None) -> str:
    """The address by --api or ORCHESTRATOR_API, else the running local stack's, else the usual one."""
    if given:
        return given if "://" in given else f"http://{given}"
    endpoints = Layout.current().read_endpoints()
    return endpoints.api if endpoints else DEFAULT_API


def connect(given: str | None) -> OrchestratorClient:
    """A client of that API, with the key in ORCHESTRATOR_API_KEY where it is set.

    It sends nothing again: whoever waits at a terminal is told at once what is away.
    """
    return _client(given, NEVER)


def connect_patiently(given: str | None) -> OrchestratorClient:
    """A client that waits out a service that restarts: for commands that follow an execution for long."""
    return _client(given, Retries(most=8))


def _client(given: str | None, retries: Retries) -> OrchestratorClient:
    key = os.environ.get("ORCHESTRATOR_API_KEY") or None
    return OrchestratorClient(api_address(given), api_key=key, retries=retries)
