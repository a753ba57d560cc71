"""The files by which scripts find a running stack."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.embedded.layout import Endpoints, Layout, StackRunning

KEYS = {
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


def endpoints(pid: int = 1) -> Endpoints:
    return Endpoints(
        api="http://127.0.0.1:8000",
        temporal="127.0.0.1:7233",
        temporal_namespace="default",
        temporal_ui="http://127.0.0.1:8233",
        redis="redis://127.0.0.1:6379",
        qdrant=None,
        model="http://127.0.0.1:8081/v1",
        api_pid=pid,
        worker_pid=pid,
    )


def test_endpoints_have_the_promised_keys_and_nobody_else_reads_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.write_endpoints(endpoints())
    assert json.loads(layout.endpoints_path.read_text()).keys() == KEYS
    assert stat.S_IMODE(layout.endpoints_path.stat().st_mode) == 0o600
    assert layout.read_endpoints() == endpoints()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.write_endpoints(endpoints())
    done = threading.Event()

    def write() -> None:
        for pid in range(2000):
            layout.write_endpoints(endpoints(10**6 * (pid % 2) + pid))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(json.loads(layout.endpoints_path.read_text())["api_pid"])
    writer.join()
    assert len(seen) > 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"api": 1}'])
def test_an_unreadable_file_counts_as_none(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    assert layout.read_endpoints() is None
    layout.endpoints_path.write_text(text)
    assert layout.read_endpoints() is None


HOLDING = """
import pathlib, sys
from orchestrator.embedded.layout import Layout
lock = Layout(pathlib.Path(sys.argv[1])).lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_one_folder_has_one_stack(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert not layout.is_running()
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        layout.write_endpoints(endpoints())
        assert layout.is_running()
        with pytest.raises(StackRunning, match=rf"process {holder.pid}, API at http://127\.0\.0\.1:8000"):
            layout.lock()
        # A process killed with -9 leaves no lock behind, only a file.
        holder.kill()
        holder.wait()
    assert not layout.is_running()
    layout.lock().close()


def test_the_folder_is_beside_the_caller_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_HOME", raising=False)
    assert Layout.current().home == tmp_path / ".orchestrator"
    monkeypatch.setenv("ORCHESTRATOR_HOME", "elsewhere")
    assert Layout.current().home == tmp_path / "elsewhere"
