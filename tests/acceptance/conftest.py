"""One deployment for all acceptance tests: real processes, and a model server that counts and obeys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import connect
from orchestrator.embedded.ports import LOOPBACK
from tests.fakes.model_server import FakeModelServer, running_model_server
from tests.support.ports import free_port
from tests.support.rest import Rest
from tests.support.service_processes import Services, running_services
from tests.support.stuck_executions import stuck_executions


@pytest.fixture(scope="session")
def counting_model() -> Iterator[FakeModelServer]:
    """The model server of the deployment, for all tests; they take `model`."""
    with running_model_server() as server:
        yield server


@pytest.fixture(scope="session")
def deployment(counting_model: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The processes, for all tests; they take `services`."""
    folder = tmp_path_factory.mktemp("services")
    variables = {
        "HTTP_ALLOW_HOSTS": LOOPBACK,
        "LOG_FORMAT": "json",
        # In this world a token costs a cent.
        "MODEL_PRICES": json.dumps({"openai/priced-*": {"input_per_million": 10_000, "output_per_million": 10_000}}),
        "SECRETS__ACCEPTANCE": "s3cret/of acceptance+=",
        # A model provider on whose port nothing listens.
        "PROVIDERS__ABSENT__BASE_URL": f"http://{LOOPBACK}:{free_port()}/v1",
    }
    with running_services(folder, counting_model.url, **variables) as services:
        yield services
        services.make_whole()
        assert asyncio.run(_stuck(services)) == {}, "executions whose workflow task fails over and over"


async def _stuck(services: Services) -> dict[str, int]:
    return await stuck_executions(await connect(services.settings))


@pytest.fixture
def model(counting_model: FakeModelServer) -> Iterator[FakeModelServer]:
    """The model server with an empty log and no script."""
    counting_model.forget()
    yield counting_model
    counting_model.forget()


@pytest.fixture
def services(deployment: Services, model: FakeModelServer) -> Iterator[Services]:
    """The deployment, whole before and after the test whatever it kills, with agents of a clean record."""
    deployment.make_whole()
    deployment.forget_calls()
    yield deployment
    deployment.make_whole()


@pytest.fixture
def rest(services: Services) -> Rest:
    """A client of the deployment's API."""
    return Rest(services.http)


@pytest.fixture
def stack_folder(services: Services, tmp_path: Path) -> Path:
    """A working folder that takes the deployment for its local stack, whose state is in `home`."""
    (tmp_path / "home").mkdir()
    document: dict[str, Any] = {
        "api": services.api_url,
        "temporal": services.temporal_address,
        "temporal_namespace": "default",
        "temporal_ui": services.temporal_ui,
        "redis": services.redis_url,
        "qdrant": None,
        "model": services.model_url,
        "api_pid": services.api.pid,
        "worker_pid": services.worker.pid,
    }
    (tmp_path / "home" / "endpoints.json").write_text(json.dumps(document))
    return tmp_path
