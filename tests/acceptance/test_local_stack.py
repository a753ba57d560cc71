"""`make up` as scripts rely on it: one stack per folder, supervised, found by its endpoints, gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from orchestrator.sdk import ApiProblem, OrchestratorClient
from tests.support.commands import ROOT, orchestrator
from tests.support.local_stack import UpProcess, bare_environment, launch_up, running_stack
from tests.support.polling import wait_for
from tests.support.ports import free_port
from tests.support.processes import descendants, is_alive

LEAD = ROOT / "examples" / "lead_processing.json"
LEAD_INPUT = ROOT / "examples" / "lead_processing.input.json"
WAITING = {"name": "Long wait", "steps": [{"step_id": "rest", "step_type": "wait", "seconds": 600}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with running_stack(tmp_path_factory.mktemp("stack")) as up:
        yield up


def command(stack: UpProcess, *arguments: str | Path) -> tuple[int, Any]:
    done = orchestrator(*arguments, "--output", "json", env=bare_environment(stack.home), cwd=ROOT)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr


def _status(stack: UpProcess, execution_id: str) -> str | None:
    """The execution's status; None while the API is away."""
    try:
        answer = httpx2.get(f"{stack.endpoints()['api']}/api/v1/executions/{execution_id}")
    except httpx2.HTTPError:
        return None
    return answer.json().get("status") if answer.status_code == 200 else None


def test_the_endpoints_are_complete_and_name_the_serving_processes(stack: UpProcess) -> None:
    found = stack.endpoints()
    assert found.keys() == {
        "api",
        "temporal",
        "temporal_namespace",
        "temporal_ui",
        "redis",
        "qdrant",
        "model",
        "api_pid",
        "worker_metrics",
        "worker_pid",
    }
    assert found["qdrant"] is None
    assert found["model"].endswith("/v1")
    assert "://" not in found["temporal"]
    api_port = int(found["api"].rpartition(":")[2])
    listening = psutil.Process(found["api_pid"]).net_connections("tcp")
    assert api_port in {connection.laddr.port for connection in listening if connection.status == "LISTEN"}
    ready = httpx2.get(f"{found['api']}/api/v1/health/ready").json()
    assert [worker["pid"] for worker in ready["parts"]["worker"]["workers"]] == [found["worker_pid"]]
    assert httpx2.get(found["temporal_ui"]).status_code == 200
    assert httpx2.get(f"{found['model']}/models").json()["data"][0]["id"] == "smollm2-135m-instruct"


def test_every_part_listens_on_loopback_only(stack: UpProcess) -> None:
    for pid in descendants(stack.pid):
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == "LISTEN":
                assert connection.laddr.ip in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, (pid, connection)


def test_the_lead_workflow_runs_from_the_command_line(stack: UpProcess) -> None:
    code, document = command(stack, "run", LEAD, "--input", LEAD_INPUT, "--wait")
    assert code == 0, document
    assert document["status"] == "completed"
    assert [step["state"] for step in document["steps"]] == ["completed", "completed"]
    assert command(stack, "status", document["execution_id"])[0] == 0


def test_an_execution_is_paused_resumed_and_cancelled_from_the_command_line(stack: UpProcess, tmp_path: Path) -> None:
    path = tmp_path / "waiting.json"
    path.write_text(json.dumps(WAITING))
    code, document = command(stack, "run", path)
    assert code == 0, document
    execution_id = document["execution_id"]
    assert command(stack, "pause", execution_id, "--reason", "lunch")[0] == 0
    wait_for(lambda: _status(stack, execution_id) == "paused", 20)
    assert command(stack, "resume", execution_id)[0] == 0
    wait_for(lambda: _status(stack, execution_id) == "running", 20)
    assert command(stack, "cancel", execution_id)[0] == 0
    wait_for(lambda: _status(stack, execution_id) == "cancelled", 20)
    assert command(stack, "status", execution_id)[0] == 1
    code, complaint = command(stack, "pause", execution_id)
    assert code == 1
    assert execution_id in complaint


def test_the_client_waits_for_a_synchronous_execution_longer_than_for_other_answers(stack: UpProcess) -> None:
    resting = {**WAITING, "steps": [{"step_id": "rest", "step_type": "wait", "seconds": 2}]}
    with OrchestratorClient(stack.endpoints()["api"], timeout_seconds=1.5) as client:
        assert client.put_workflow("rest", {**resting, "workflow_id": "rest"})["version"] == 1
        assert client.execute_workflow("rest", {}, async_execution=False)["status"] == "completed"
        assert client.execute_workflow("rest", {}, async_execution=False, wait_seconds=0.1)["status"] == "running"
        with pytest.raises(ApiProblem) as problem:
            client.execute_workflow("no-such-workflow", {})
    assert problem.value.status == 404
    assert problem.value.code == "workflow-not-found"


def test_the_demo_uses_the_stack_that_runs_and_leaves_it(stack: UpProcess) -> None:
    for _ in range(2):
        done = orchestrator("demo", env=bare_environment(stack.home), cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "already runs" in done.stdout
        assert "demo model" in done.stdout
        assert f"{stack.endpoints()['api']}/docs" in done.stdout
        assert f"{stack.endpoints()['temporal_ui']}/namespaces/default/workflows/ex-" in done.stdout
    assert stack.is_ready()


def test_a_second_stack_on_the_folder_is_refused(stack: UpProcess) -> None:
    done = orchestrator("up", env=bare_environment(stack.home), cwd=ROOT)
    assert done.returncode == 1
    assert str(stack.pid) in done.stderr
    assert stack.endpoints()["api"] in done.stderr
    assert stack.is_ready()


@pytest.mark.parametrize("name", ["api_pid", "worker_pid"])
def test_a_service_killed_with_nine_is_replaced_on_its_address(stack: UpProcess, name: str) -> None:
    before = stack.endpoints()
    os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: stack.endpoints()[name] != before[name], what="a new process in endpoints.json")
    wait_for(lambda: _serves(stack), 30, "readiness with the new process")
    after = stack.endpoints()
    assert {**after, name: before[name]} == before
    assert is_alive(after[name])


def _serves(stack: UpProcess) -> bool:
    """Ready with the present worker: the lease of a killed one takes a while to run out."""
    if not stack.is_ready():
        return False
    endpoints = stack.endpoints()
    parts = httpx2.get(f"{endpoints['api']}/api/v1/health/ready").json()["parts"]
    return endpoints["worker_pid"] in {worker["pid"] for worker in parts["worker"].get("workers", [])}


def test_every_server_killed_with_nine_comes_back_with_its_data(stack: UpProcess) -> None:
    children = psutil.Process(stack.pid).children()
    services = {stack.endpoints()["api_pid"], stack.endpoints()["worker_pid"]}
    servers = [child for child in children if child.pid not in services]
    assert len(servers) == 3
    code, document = command(stack, "run", LEAD, "--input", LEAD_INPUT)
    assert code == 0
    for server in servers:
        server.kill()
    wait_for(lambda: not any(is_alive(server.pid) for server in servers))
    wait_for(stack.is_ready, 60)
    wait_for(lambda: _status(stack, document["execution_id"]) == "completed", 60, "the execution's completion")


def test_a_stack_killed_with_nine_leaves_no_process_and_starts_again_with_its_state(stack: UpProcess) -> None:
    code, document = command(stack, "run", LEAD, "--input", LEAD_INPUT, "--wait")
    assert code == 0
    pids = descendants(stack.pid)
    assert len(pids) >= 5
    stack.process.kill()
    stack.process.wait()
    wait_for(lambda: not any(map(is_alive, pids)), what="the end of every child")
    stale = stack.endpoints()
    with running_stack(stack.home, API_PORT=stale["api"].rpartition(":")[2]) as again:
        assert again.endpoints()["api"] == stale["api"]
        assert _status(again, document["execution_id"]) == "completed"
        pids = descendants(again.pid)
        assert again.stop() == 0
        assert not any(map(is_alive, pids))
        assert not (again.home / "endpoints.json").exists()


def test_the_demo_runs_a_stack_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = orchestrator("demo", env=bare_environment(home, API_PORT=str(free_port())), cwd=ROOT, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "Qualify Lead" in done.stdout
    assert '"enrich_lead"' in done.stdout
    assert not (home / "endpoints.json").exists()
    assert [pid for pid in psutil.pids() if _belongs(pid, home)] == []


def _belongs(pid: int, home: Path) -> bool:
    try:
        return psutil.Process(pid).environ().get("ORCHESTRATOR_HOME") == str(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def test_an_external_server_that_is_away_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nothing can answer there.
        taken.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}"
        up = launch_up(tmp_path / "home", REDIS_URL=url)
        assert up.process.wait(60) == 3
    assert "REDIS_URL" in up.output
    assert "instead of the embedded one" in up.output
    assert not (tmp_path / "home" / "endpoints.json").exists()


def test_an_external_redis_is_used_and_left_alone(tmp_path: Path, redis_url: str, temporal_address: str) -> None:
    home = tmp_path / "home"
    queue = tmp_path.name
    with running_stack(
        home, REDIS_URL=redis_url, TEMPORAL_ADDRESS=temporal_address, REDIS_KEY_PREFIX=queue, TEMPORAL_TASK_QUEUE=queue
    ) as up:
        endpoints = up.endpoints()
        assert endpoints["redis"] == redis_url
        assert endpoints["temporal"] == temporal_address
        assert endpoints["temporal_ui"] is None
        assert not (home / "redis").exists()
        assert up.output.count("instead of the embedded one") == 2


def test_a_stack_that_wants_keys_starts_and_lets_in_who_has_one(
    tmp_path: Path, redis_url: str, temporal_address: str
) -> None:
    external = {"REDIS_URL": redis_url, "TEMPORAL_ADDRESS": temporal_address, "TEMPORAL_TASK_QUEUE": tmp_path.name}
    wants = {"REDIS_KEY_PREFIX": tmp_path.name, "API_AUTH": "on", "API_BOOTSTRAP_KEY": "b" * 40}
    with running_stack(tmp_path / "home", **external, **wants) as up:
        address = up.endpoints()["api"]
        assert httpx2.get(f"{address}/api/v1/workflows/").status_code == 401
        with OrchestratorClient(address, api_key="b" * 40) as client:
            assert list(client.iter_workflows()) == []
