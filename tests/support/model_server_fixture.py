"""The fixture `model_server`: a fake model server for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.model_server import FakeModelServer, running_model_server


@pytest.fixture
def model_server() -> Iterator[FakeModelServer]:
    """A real HTTP server that speaks the OpenAI protocol; script it with `then` and `always`, count with `calls`."""
    with running_model_server() as server:
        yield server
