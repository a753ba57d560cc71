"""Composition root of the API: opens the stores and clients, mounts the routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Scope

from api import problems
from api.access import authorize
from api.audit_trail import AuditTrail
from api.codec_cors import CodecCors, codec_origins
from api.dependencies import Services
from api.docs_page import install_docs
from api.event_ends import EventEnds
from api.event_frames import EventFrames
from api.event_hub import EventHub
from api.execution_links import PREFIX
from api.executions import ExecutionReader
from api.idempotent_starts import StartsUnderWay
from api.key_watch import KeyWatch
from api.metrics import ApiMetrics
from api.middleware import SecureHeaders, UniformPaths
from api.openapi import describe
from api.request_counts import RequestCounts
from api.routes import (
    agents,
    audit,
    breakers,
    codec,
    collections,
    executions,
    executions_bulk,
    executions_messages,
    executions_recovery,
    executions_watching,
    health,
    hooks,
    keys,
    language,
    metrics,
    schedules,
    sessions,
    simulations,
    tools,
    workflows,
)
from api.simulations import Simulator
from api.temporal_calls import TemporalCalls
from orchestrator.agents import AgentFactory
from orchestrator.client import ConcurrencyGates, connect, disconnect
from orchestrator.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.stores.api_keys import ApiKeys
from orchestrator.stores.audit import AuditLog
from orchestrator.stores.cell_rates import CellRates
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.event_streams import EventStreams
from orchestrator.stores.failed_attempts import FailedAttempts
from orchestrator.stores.leases import WorkerLeases
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.token_streams import TokenStreams


def create_app(settings: Settings) -> FastAPI:
    """Return the API as an ASGI app.

    It starts while Redis or Temporal is away, answers 503 meanwhile, and recovers by itself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect_redis(settings)
        # Watchers may come by the hundred; they shall not take the turns of others.
        watching = connect_redis(settings, calls_at_once=12)
        try:
            temporal = await connect(settings, lazy=True)
            calls = TemporalCalls(temporal, settings)
            leases = WorkerLeases(redis, settings.redis_key_prefix)
            kept = EventStreams(redis, settings.redis_key_prefix)
            reader = ExecutionReader(temporal, calls, leases, kept, settings)
            streams = EventStreams(watching, settings.redis_key_prefix)
            hub = EventHub(streams)
            api_keys = ApiKeys(redis, settings)
            key_watch = KeyWatch(api_keys)
            audit = AuditLog(redis, settings.redis_key_prefix, settings.api_audit_entries)
            app.state.services = Services(
                settings=settings,
                redis=redis,
                temporal=temporal,
                calls=calls,
                definitions=DefinitionStore(redis, settings.redis_key_prefix),
                agents=AgentFactory(settings, redis=redis),
                leases=leases,
                keys=api_keys,
                key_watch=key_watch,
                audit=audit,
                executions=reader,
                gates=ConcurrencyGates(temporal, settings.concurrency_check_seconds),
                secrets=Secrets.from_settings(settings),
                hook_rates=CellRates(redis, settings.redis_key_prefix, "hooks", settings.api_hooks_per_minute),
                hook_failures=FailedAttempts(
                    redis, settings.redis_key_prefix, "hooks", settings.api_failures_per_minute
                ),
                events=EventFrames(
                    hub, streams, TokenStreams(watching, settings.redis_key_prefix), EventEnds(reader, streams)
                ),
            )
            yield
            await hub.aclose()
            await key_watch.aclose()
            await audit.aclose()
            await disconnect(temporal)
        finally:
            await watching.aclose()
            await redis.aclose()

    app = FastAPI(
        title="Agent Workflow System",
        lifespan=lifespan,
        redirect_slashes=False,
        dependencies=[Depends(authorize)],
        docs_url=None,
        redoc_url=None,
        telemetry={"exclude": _is_probe},
    )
    app.state.settings = settings
    app.state.metrics = ApiMetrics()
    app.state.simulator = Simulator()
    app.state.starts = StartsUnderWay()
    app.include_router(_routes())
    problems.install(app)
    describe(app)
    install_docs(app)
    slashed = [context.path for context in iter_route_contexts(app.routes) if (context.path or "").endswith("/")]
    app.add_middleware(RequestCounts, metrics=app.state.metrics)
    app.add_middleware(AuditTrail)
    app.add_middleware(UniformPaths, collections=[path for path in slashed if path])
    app.add_middleware(CodecCors, origins=codec_origins(settings))
    app.add_middleware(SecureHeaders)
    return app


def _is_probe(scope: Scope) -> bool:
    """Whether a request is a probe's or a scraper's: nobody looks for their traces."""
    path = str(scope.get("path", ""))
    return path.startswith(f"{PREFIX}/health/") or path == f"{PREFIX}/metrics"


def _routes() -> APIRouter:
    router = APIRouter(prefix=PREFIX)
    parts = (
        workflows,
        simulations,
        # Before paths whose first segment is an execution's id.
        executions_bulk,
        executions,
        executions_messages,
        executions_watching,
        executions_recovery,
        agents,
        tools,
        breakers,
        collections,
        sessions,
        schedules,
        hooks,
        language,
        keys,
        audit,
        codec,
        health,
        metrics,
    )
    for part in parts:
        router.include_router(part.router)
    return router
