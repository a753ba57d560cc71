"""`orchestrator worker` and `orchestrator api`: the two services, each in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.commands.outcome import OK, USAGE, CommandError
from orchestrator.settings import Settings

GRACEFUL_SHUTDOWN_SECONDS = 5


def _check_claims(settings: Settings) -> None:
    """Refuse to serve with a claim store that can never work.

    Raises:
        CommandError: what is wrong; a store that is merely away is no such thing.
    """
    from orchestrator.stores.claims import claims_problem

    problem = asyncio.run(claims_problem(settings))
    if problem is not None:
        raise CommandError(problem, USAGE)


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop of a service, as uvicorn chooses it; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def worker() -> int:
    """Run the worker until SIGTERM or SIGINT."""
    from orchestrator.telemetry import MetricsAddressTaken, configure_telemetry
    from orchestrator.worker import run_worker

    settings = Settings()
    try:
        configure_telemetry(settings, process="worker")
    except MetricsAddressTaken as error:
        raise CommandError(str(error), USAGE) from error
    _check_claims(settings)
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(run_worker(settings))
    return OK


def api() -> int:
    """Serve the API until SIGTERM or SIGINT."""
    import uvicorn

    from api.app import create_app
    from orchestrator.telemetry import configure_telemetry

    settings = Settings()
    configure_telemetry(settings, process="api")
    _check_claims(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        # Its lines go where ours go.
        log_config=None,
        # A reader of an event stream would otherwise hold the process for ever.
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )
    return OK
