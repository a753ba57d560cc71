"""The whole service on one machine: embedded servers, the worker and the API, started together and supervised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import IO, Any, Self
from urllib.parse import urlsplit

from orchestrator.embedded.layout import Endpoints, Layout
from orchestrator.embedded.plan import External, Plan, plan_stack
from orchestrator.embedded.ports import PortClaims, is_free
from orchestrator.embedded.probes import accepts
from orchestrator.settings import Settings
from orchestrator.supervision import Supervisor


class ExternalAway(Exception):
    """A server that the environment names does not answer."""


class LocalStack:
    """One stack on one folder. Start it from the main thread's event loop.

    Args:
        settings: says which parts the user brings.
        layout: the folder of its state.
        say: told one line about everything worth knowing.

    Raises (on entering):
        StackRunning: another stack runs on the folder.
        MissingPart: a package of the extra `local` is absent.
        ExternalAway: a server that the environment names does not answer.
        StartFailed: a part did not come up.
    """

    def __init__(self, settings: Settings, layout: Layout, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._layout = layout
        self._say = say
        self._supervisor = Supervisor(say=say, on_change=self._publish)
        self._watch: asyncio.Task[None] | None = None
        self._lock: IO[str] | None = None
        self._ports = PortClaims()
        self._plan: Plan | None = None
        self._ready = False

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, with the present pids."""
        assert self._plan is not None, "the stack has not been started"
        pids = {"api_pid": self._supervisor.pid("api"), "worker_pid": self._supervisor.pid("worker")}
        return self._plan.endpoints.model_copy(update=pids)

    async def __aenter__(self) -> Self:
        self._lock = self._layout.lock()
        try:
            await self._clear_traces()
            self._plan = plan_stack(self._settings, self._layout, self._ports)
            await self._start(self._plan)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self, plan: Plan) -> None:
        for note in plan.notes:
            self._say(note)
        await asyncio.gather(*(_check(external) for external in plan.externals if external.address))
        self._watch = asyncio.create_task(self._supervisor.watch())
        # All at once: the worker and the API wait for Temporal and Redis by themselves, and importing them takes
        # longer than starting both servers. They are ready when executions can run.
        await _all(*map(self._supervisor.start, (*plan.servers, *plan.services)))
        self._ready = True
        self._publish()

    async def _clear_traces(self) -> None:
        """Wait for the ports of a stack that was killed: the kernel ends its children a moment after it."""
        previous = self._layout.read_endpoints()
        self._layout.endpoints_path.unlink(missing_ok=True)
        if previous is None:
            return
        port = urlsplit(previous.api).port or 80
        for _ in range(40):
            if is_free(port):
                return
            await asyncio.sleep(0.05)

    def _publish(self) -> None:
        # Only a complete document is published, and not before what it names answers: scripts wait for the file.
        if self._ready and self.endpoints.api_pid is not None and self.endpoints.worker_pid is not None:
            self._layout.write_endpoints(self.endpoints)

    async def watch(self) -> None:
        """Supervise until the task is cancelled."""
        assert self._watch is not None, "the stack has not been started"
        await asyncio.shield(self._watch)

    def hurry(self) -> None:
        """Make a stop under way kill what still runs."""
        self._supervisor.hurry()

    async def stop(self) -> None:
        """Stop everything, the services before the servers they need; the state stays."""
        await self._supervisor.stop(["api", "worker"])
        if self._watch is not None:
            await self._watch
        self._layout.endpoints_path.unlink(missing_ok=True)
        self._ports.release()
        if self._lock is not None:
            self._lock.close()


async def _all(*starts: Coroutine[Any, Any, None]) -> None:
    """Await all; the first failure cancels the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _check(external: External) -> None:
    assert external.address is not None
    try:
        async with asyncio.timeout(5):
            await accepts(*external.address)
    except (OSError, TimeoutError) as error:
        raise ExternalAway(
            f"{external.part} at {external.where} ({external.variable}) does not answer. Start it, correct "
            f"{external.variable}, or unset it to use the embedded one."
        ) from error
