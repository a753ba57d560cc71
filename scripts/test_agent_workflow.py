"""The detailed check of the workflow system: `python -m scripts.test_agent_workflow`.

It uses the local stack that runs in this folder, or starts one and stops it afterwards; it logs every execution to
`agent_workflow_test.log` in the working folder and exits with 0 when every check holds, else with 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

from orchestrator.agents import agent_factory
from orchestrator.client import connect, disconnect
from orchestrator.embedded.layout import Endpoints, Layout, StackRunning
from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.process import StartFailed
from orchestrator.execution.errors import OrchestratorError
from orchestrator.local_stack import ExternalAway, LocalStack
from orchestrator.settings import Settings, discover_settings
from scripts.workflow_check_report import Report
from scripts.workflow_checks import CHECKS, Service

LOG = Path("agent_workflow_test.log")


def main() -> int:
    """Run every check; gives the exit code."""
    report = Report.to(LOG)
    try:
        asyncio.run(_run(report))
    except (ExternalAway, StackRunning, MissingPart, StartFailed) as error:
        report.expect(False, "a stack is there to check", error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        report.expect(False, "every check was made", "interrupted")
    return report.finish()


async def _run(report: Report) -> None:
    _end_on_signals()
    layout = Layout.current()
    async with _stack(layout, report) as endpoints:
        settings = discover_settings(layout.home)
        agent_factory.bind(settings)
        client = await connect(settings)
        try:
            async with httpx2.AsyncClient(base_url=f"{endpoints.api}/api/v1", timeout=30, trust_env=False) as api:
                await _check(Service(settings, client, api, report))
        finally:
            await agent_factory.aclose()
            await disconnect(client)


def _end_on_signals() -> None:
    """Let ctrl-C and SIGTERM end the run like an error, so that a stack of its own is stopped."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


@contextlib.asynccontextmanager
async def _stack(layout: Layout, report: Report) -> AsyncIterator[Endpoints]:
    running = layout.read_endpoints()
    if running is not None and await _is_ready(running):
        report.say(f"Checking the stack that runs at {running.api}.")
        yield running
        return
    report.say("Starting a stack of its own…")
    async with LocalStack(Settings(), layout, report.say) as stack:
        yield stack.endpoints
        report.say("\nStopping the stack; its state is kept.")


async def _is_ready(endpoints: Endpoints) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=5, trust_env=False) as http:
            return (await http.get(f"{endpoints.api}/api/v1/health/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


async def _check(service: Service) -> None:
    for title, check in CHECKS.items():
        service.report.begin(title)
        try:
            await check(service)
        except (OrchestratorError, httpx2.HTTPError, LookupError, TimeoutError) as error:
            service.report.expect(False, f"the check '{title}' could be made", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
