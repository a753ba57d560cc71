"""Supervised processes are started again when they die, and none outlives its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.embedded import tether
from orchestrator.embedded.probes import answers_ping
from orchestrator.embedded.process import ProcessSpec, StartFailed
from orchestrator.embedded.valkey import valkey
from orchestrator.supervision import Supervisor
from tests.support.polling import eventually, wait_for
from tests.support.ports import free_port
from tests.support.processes import is_alive


async def at_once(_: int) -> bool:
    return True


async def never(_: int) -> bool:
    return False


def python(name: str, folder: Path, code: str, **fields: object) -> ProcessSpec:
    argv = [sys.executable, "-c", code]
    return ProcessSpec(name, argv, folder / f"{name}.log", fields.pop("ready", at_once), **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def supervisor(said: list[str] | None = None) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(say=(said if said is not None else []).append)
    watching = asyncio.create_task(supervisor.watch())
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        await watching


async def test_a_child_killed_with_nine_runs_again_on_its_port(tmp_path: Path) -> None:
    port = free_port()
    said: list[str] = []
    async with supervisor(said) as watched:
        await watched.start(valkey(tmp_path, port, tmp_path / "redis.log"))
        first = watched.pid("redis")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: watched.pid("redis") != first)
        await eventually(lambda: _answers(port))
    assert any("SIGKILL" in line and "redis.log" in line for line in said)


async def _answers(port: int) -> bool:
    try:
        return await answers_ping("127.0.0.1", port)
    except OSError:
        return False


async def test_the_third_death_in_a_row_waits_longer_than_the_second(tmp_path: Path) -> None:
    births: list[float] = []
    starts = tmp_path / "starts"
    code = f"import time; open({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n'); time.sleep(0.3)"
    async with supervisor() as watched:
        await watched.start(python("mayfly", tmp_path, code))
        await eventually(lambda: starts.exists() and len(starts.read_text().splitlines()) >= 4, 15)
        births = [float(line) for line in starts.read_text().splitlines()]
    pauses = [after - before for before, after in pairwise(births)]
    assert pauses[0] < pauses[1] < pauses[2]


async def test_a_child_that_ends_while_starting_fails_the_start_with_its_last_words(tmp_path: Path) -> None:
    async with supervisor() as watched:
        with pytest.raises(StartFailed, match="status 7") as failure:
            await watched.start(python("broken", tmp_path, "print('no such database'); exit(7)", ready=never))
    assert "no such database" in str(failure.value)
    assert "broken.log" in str(failure.value)


async def test_a_child_that_is_not_ready_in_time_fails_the_start_and_is_ended(tmp_path: Path) -> None:
    async with supervisor() as watched:
        with pytest.raises(StartFailed, match=r"not ready after 0\.3 s"):
            await watched.start(python("slow", tmp_path, "import time; time.sleep(60)", ready=never, start_seconds=0.3))
        pid = watched.pid("slow")
    assert pid is not None
    assert not is_alive(pid)


async def test_a_child_that_ignores_sigterm_is_killed_after_its_time(tmp_path: Path) -> None:
    ignoring = tmp_path / "ignoring"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ignoring)!r}).touch(); time.sleep(60)"
    )
    began = 0.0
    async with supervisor() as watched:
        await watched.start(python("deaf", tmp_path, code, stop_seconds=0.5))
        await eventually(ignoring.exists)
        pid = watched.pid("deaf")
        began = time.monotonic()
    assert pid is not None
    assert not is_alive(pid)
    assert 0.5 <= time.monotonic() - began < 5


async def test_what_a_dead_child_had_started_dies_too(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    code = (
        "import pathlib, subprocess, time; child = subprocess.Popen(['sleep', '600']);"
        f"path = pathlib.Path({str(note)!r}); path.exists() or path.write_text(str(child.pid)); time.sleep(600)"
    )
    async with supervisor() as watched:
        await watched.start(python("parent", tmp_path, code))
        await eventually(lambda: note.exists() and note.read_text() != "")
        grandchild = int(note.read_text())
        pid = watched.pid("parent")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not is_alive(grandchild))


async def test_starting_off_the_main_thread_is_refused(tmp_path: Path) -> None:
    spec = python("child", tmp_path, "pass")
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(spec.launch)


SUPERVISING = """
import asyncio, pathlib, sys
from orchestrator.embedded.process import ProcessSpec
from orchestrator.supervision import Supervisor

async def ready(_):
    return True

async def main():
    folder = pathlib.Path(sys.argv[1])
    supervisor = Supervisor(say=print)
    for name in ("one", "two"):
        argv = [sys.executable, "-c", "import time; time.sleep(600)"]
        await supervisor.start(ProcessSpec(name, argv, folder / f"{name}.log", ready))
    (folder / "pids.new").write_text(f"{supervisor.pid('one')} {supervisor.pid('two')}")
    (folder / "pids.new").rename(folder / "pids")
    await supervisor.watch()

asyncio.run(main())
"""


def test_no_child_outlives_a_supervisor_killed_with_nine(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SUPERVISING, str(tmp_path)])
    try:
        wait_for((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(is_alive, pids))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(map(is_alive, pids)), what="the children's end")


@pytest.mark.parametrize("manner", ["kernel", "watchdog"])
def test_the_tether_ends_a_command_whose_parent_was_killed(tmp_path: Path, manner: str) -> None:
    if manner == "kernel" and sys.platform != "linux":
        pytest.skip("prctl is Linux's")
    note = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)"
    code = (
        "import os, subprocess, sys;"
        f"subprocess.Popen([sys.executable, {tether.__file__!r}, str(os.getpid()), {manner!r}, sys.executable, '-c',"
        f" {child!r}], process_group=0).wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: note.exists() and note.read_text() != "")
        pid = int(note.read_text())
        assert is_alive(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not is_alive(pid), what="the command's end")
