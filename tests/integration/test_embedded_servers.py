"""The embedded servers start, answer and keep their data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import redis.asyncio
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from orchestrator.embedded.ports import PortClaims, is_free
from orchestrator.embedded.process import StartFailed, stop
from orchestrator.embedded.valkey import valkey
from orchestrator.workflows.search_attributes import TYPES
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.ports import free_port
from tests.support.servers import running, running_redis


async def test_redis_answers_and_syncs_its_append_only_file(redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.set("greeting", "hello")
        assert (await client.waitaof(1, 0, 5000))[0] == 1
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


async def test_temporal_keeps_closed_executions_for_thirty_days(temporal_client: Client) -> None:
    answer = await temporal_client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert answer.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=30)


async def test_temporal_has_our_search_attributes(temporal_client: Client) -> None:
    answer = await temporal_client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="default")
    )
    assert TYPES.items() <= dict(answer.custom_attributes).items()


async def test_redis_keeps_what_it_acknowledged_over_kill_nine(tmp_path: Path) -> None:
    port = free_port()
    password = 'it is "quoted" \\ here'
    spec = valkey(tmp_path, port, tmp_path / "redis.log", password=password)
    url = f"redis://:{quote(password, safe='')}@127.0.0.1:{port}"
    process = spec.launch()
    try:
        await spec.wait_ready(process)
        async with redis.asyncio.from_url(url) as client:
            await client.set("kept", "yes")
            await client.waitaof(1, 0, 5000)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process = spec.launch()
        await spec.wait_ready(process)
        async with redis.asyncio.from_url(url) as client:
            assert await client.get("kept") == b"yes"
    finally:
        stop(process, 5)


async def test_a_server_that_cannot_start_says_why_and_names_its_log(tmp_path: Path) -> None:
    port = free_port()
    spec = valkey(tmp_path / "one", port, tmp_path / "one.log")
    first = spec.launch()
    try:
        await spec.wait_ready(first)
        second = valkey(tmp_path / "two", port, tmp_path / "two.log")
        process = second.launch()
        with pytest.raises(StartFailed, match=r"two\.log") as failure:
            # The first server answers PING there, so only the process's own end tells.
            process.wait(10)
            await second.wait_ready(process)
        assert "Address already in use" in str(failure.value)
    finally:
        stop(first, 5)


@pytest.fixture
def claims() -> Iterator[Callable[[], PortClaims]]:
    made: list[PortClaims] = []

    def claim() -> PortClaims:
        made.append(PortClaims())
        return made[-1]

    yield claim
    for each in made:
        each.release()


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path, claims: Callable[[], PortClaims]) -> None:
    with running_redis(tmp_path) as url:
        taken = int(url.rpartition(":")[2])
        assert not is_free(taken)
        assert claims().choose(taken) != taken
    assert claims().choose(taken) == taken


def test_stacks_that_start_at_once_choose_different_ports(claims: Callable[[], PortClaims]) -> None:
    usual, first, second = free_port(), claims(), claims()
    assert first.choose(usual) == usual
    assert is_free(usual), "its server has yet to start"
    assert usual not in {first.choose(usual), second.choose(usual)}
    first.release()
    assert second.choose(usual) == usual


def test_a_claim_ends_with_its_process() -> None:
    usual = free_port()
    code = f"from orchestrator.embedded.ports import PortClaims; import os; PortClaims().choose({usual}); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    held = PortClaims()
    assert held.choose(usual) == usual
    held.release()


def test_without_a_folder_for_claims_ports_are_chosen_all_the_same(
    tmp_path: Path, claims: Callable[[], PortClaims], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    usual, own = free_port(), claims()
    assert own.choose(usual) == usual
    assert own.choose(usual) != usual


def test_nothing_runs_after_the_block(tmp_path: Path) -> None:
    began = awake_seconds()
    with running(valkey(tmp_path, free_port(), tmp_path / "redis.log")) as pid:
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert within(awake_seconds() - began, 10)
