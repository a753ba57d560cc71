"""A deployment for tests that kill its parts at random, apart from the one that acceptance tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.embedded.ports import LOOPBACK
from tests.fakes.model_server import FakeModelServer, running_model_server
from tests.support.service_processes import Services, running_services
from tests.support.tool_endpoint import ToolEndpoint, tool_endpoint


@pytest.fixture(scope="session")
def model() -> Iterator[FakeModelServer]:
    """The model server of the deployment."""
    with running_model_server() as server:
        yield server


@pytest.fixture(scope="session")
def services(model: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The processes."""
    with running_services(tmp_path_factory.mktemp("services"), model.url, HTTP_ALLOW_HOSTS=LOOPBACK) as running:
        yield running


@pytest.fixture
def endpoint() -> Iterator[ToolEndpoint]:
    """The far end of every effect."""
    with tool_endpoint() as server:
        server.call_seconds = 0.1
        yield server
