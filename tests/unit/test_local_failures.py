"""The suite's own hooks: a test that breaks whatever it can spoils no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BROKEN = """
import asyncio
import gc
import signal
import socket
import time

import pytest

from tests.support import local_failures

local_failures.LATE_SECONDS = 1


@pytest.fixture(scope="session")
def shared():
    yield []


breaks = [SystemExit, asyncio.CancelledError, GeneratorExit]


@pytest.fixture
async def breaks_setup(shared):
    if breaks:
        raise breaks.pop()("in the setup")


@pytest.fixture(params=[SystemExit, asyncio.CancelledError, GeneratorExit])
async def breaks_loop(request, shared):
    yield
    raise request.param("in the teardown")


@pytest.fixture
def fails_twice(request):
    def fail():
        raise SystemExit

    def fail_too():
        pytest.fail("too")

    request.addfinalizer(fail)
    request.addfinalizer(fail_too)


@pytest.mark.parametrize("which", range(3))
def test_setup(breaks_setup, which):
    pass


async def test_teardown(breaks_loop):
    pass


def test_both(fails_twice):
    pass


async def test_call(shared):
    raise SystemExit


@pytest.mark.timeout(3)
def test_hangs(shared):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            time.sleep(20)
        except BaseException:
            if not shared:
                shared.append("the time limit was swallowed")
            else:
                raise


async def test_leaks():
    left = socket.create_server(("127.0.0.1", 0))
    ring = [left]
    ring.append(ring)
    assert not ring


async def test_after(breaks_setup):
    await asyncio.sleep(0)
    gc.collect()
"""


def test_a_test_that_breaks_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(BROKEN)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.local_failures", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, "--rootdir", tmp_path, "-c", tmp_path / "pytest.ini", "-rA", "--tb=line", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert re.search(r"^PASSED .*::test_after$", found.stdout, re.MULTILINE), found.stdout + found.stderr
    assert "3 failed, 5 passed, 7 errors" in found.stdout, found.stdout
