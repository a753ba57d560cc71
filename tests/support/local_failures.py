"""Hooks that keep a failure with the test that it is of: whatever it raises, however long it hangs."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from _pytest import fixtures, outcomes, runner

LATE_SECONDS = 30.0
"""How long after a test's own time limit, which fires once and may be swallowed, what hangs is ended."""
AGAIN_SECONDS = 15.0

# pytest takes these for its own end: it leaves the fixtures standing that a test was setting up or tearing down, for
# later tests to find. An event loop raises them where a server in it, or a task of the test's, goes wrong.
_CAUGHT = (*outcomes.TEST_OUTCOME, SystemExit, GeneratorExit, asyncio.CancelledError, BaseExceptionGroup)
runner.TEST_OUTCOME = fixtures.TEST_OUTCOME = _CAUGHT  # type: ignore[assignment,attr-defined]

_watched: list[threading.Event] = []
_FAILED = pytest.StashKey[bool]()


def _end(*_: object) -> None:
    if _watched and not _watched[-1].is_set():
        pytest.fail("hung")


@contextmanager
def _ended_late(item: pytest.Item) -> Iterator[None]:
    """End a part of a test that goes on long after the test's time limit, and whatever of it hangs after that."""
    ended, main = threading.Event(), threading.get_ident()

    def watch() -> None:
        limit = _limit(item)
        seconds = limit + LATE_SECONDS if limit > 0 else None
        while not ended.wait(seconds):
            signal.pthread_kill(main, signal.SIGUSR1)
            seconds = AGAIN_SECONDS

    _watched.append(ended)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        _watched.remove(ended)


def _limit(item: pytest.Item) -> float:
    """Return the test's time limit; 0: it has none."""
    marker = item.get_closest_marker("timeout")
    given = marker.args[0] if marker and marker.args else item.config.getoption("timeout", None)
    return float(given if given is not None else item.config.getini("timeout") or 0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Be there for the signal; stay there, for one that comes late would end the process."""
    if signal.getsignal(signal.SIGUSR1) is not _end:
        signal.signal(signal.SIGUSR1, _end)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """End a setup that hangs."""
    with _ended_late(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """End a test that hangs."""
    with _ended_late(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember what failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End a teardown that hangs, as one does that waits for a worker which never ends."""
    with _ended_late(item):
        try:
            return (yield)
        finally:
            if item.stash.get(_FAILED, False):
                _let_go()


def _let_go() -> None:
    """Free what the frames of a failed test hold: a connection that it left open is no fault of the next test."""
    error: BaseException | None = getattr(sys, "last_value", None)
    tell, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while error is not None and error.__traceback__ is not None:
                traceback.clear_frames(error.__traceback__)
                error.__traceback__ = None
                error = error.__cause__ or error.__context__
            sys.last_value = sys.last_traceback = None
            gc.collect()
    finally:
        sys.unraisablehook = tell
