"""`orchestrator up`: the local stack in the foreground."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rich.markup import escape

from orchestrator.commands.outcome import OK, UNREACHABLE, CommandError, out
from orchestrator.embedded.layout import Endpoints, Layout, StackRunning
from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.plan import uses_demo_model
from orchestrator.embedded.process import StartFailed
from orchestrator.embedded.tether import tie_to_parent
from orchestrator.local_stack import ExternalAway, LocalStack
from orchestrator.settings import Settings

TIED_VARIABLE = "ORCHESTRATOR_TIED"
"""Set by the Makefile: the stack then also ends, cleanly, when `make` itself is killed."""


def up() -> int:
    """Run the stack until ctrl-C or SIGTERM; gives the exit code."""

    async def announce_and_watch(stack: LocalStack) -> int:
        announce(stack.endpoints, demo_model=uses_demo_model(Settings()))
        await stack.watch()
        return OK

    say("Starting the local stack…")
    return run_with_stack(announce_and_watch)


def run_with_stack(body: Callable[[LocalStack], Awaitable[int]], *, interrupted: int = OK) -> int:
    """Start a stack, run `body` beside its supervision, stop the stack; gives the body's exit code.

    Ctrl-C and SIGTERM end it cleanly and give `interrupted`; a second one kills what still runs.

    Raises:
        CommandError: the stack cannot start.
    """
    if os.environ.get(TIED_VARIABLE) and sys.platform == "linux":
        tie_to_parent(os.getppid(), signal.SIGTERM)
    try:
        return asyncio.run(_run(LocalStack(Settings(), Layout.current(), say), body, interrupted))
    except ExternalAway as error:
        raise CommandError(str(error), UNREACHABLE) from error
    except (StackRunning, MissingPart, StartFailed) as error:
        raise CommandError(str(error)) from error


async def _run(stack: LocalStack, body: Callable[[LocalStack], Awaitable[int]], interrupted: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopping = False

    def on_signal() -> None:
        nonlocal stopping
        if stopping:
            stack.hurry()
            return
        stopping = True
        say("Stopping…")
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    try:
        async with stack:
            return await body(stack)
    except asyncio.CancelledError:
        return interrupted


def say(text: str) -> None:
    """Tell a person one line."""
    _print(escape(text))


def announce(endpoints: Endpoints, *, demo_model: bool) -> None:
    """Print where everything is."""
    logs = Layout.current().home / "logs"
    lines = [
        "[bold green]The stack is ready.[/] Ctrl-C stops it; its state is kept.",
        f"  API          {endpoints.api}/api/v1",
        f"  API docs     {endpoints.api}/docs",
        f"  Temporal UI  {endpoints.temporal_ui or 'of your own Temporal'}",
        f"  model        {endpoints.model}{' (demo model: plumbing, not judgement)' if demo_model else ''}",
        f"  logs         {escape(str(logs))}",
    ]
    _print("\n".join(lines))


def _print(markup: str) -> None:
    # A terminal that was closed must not end the supervision; rich turns a broken pipe into SystemExit.
    with suppress(OSError, SystemExit):
        out.print(markup)
