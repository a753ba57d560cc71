"""Composition root of the worker: the one place where workflows meet activities and activities meet their clients."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.bulk import BulkActivities
from activities.callbacks import CallbackActivities
from activities.concurrency import ConcurrencyActivities
from activities.control import ControlActivities
from activities.definitions import DefinitionActivities
from activities.events import ExecutionEvents
from activities.http import HttpActivities
from activities.models import ModelActivities
from activities.sessions import SessionActivities
from activities.tools import ToolActivities
from activities.vectors import VectorActivities
from orchestrator.agents import AgentFactory, agent_factory
from orchestrator.agents.embeddings import Embedder
from orchestrator.agents.model_calls import ModelCalls, rate_limits
from orchestrator.agents.prices import cost_usd
from orchestrator.agents.providers import ModelProviders
from orchestrator.agents.semantic_memory import SemanticMemory
from orchestrator.agents.session_summaries import SessionSummaries
from orchestrator.agents.tools.opening import load_tools, open_tools
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.agents.turns import AgentTurns
from orchestrator.client import connect, disconnect
from orchestrator.execution.errors import Unavailable
from orchestrator.guarded_http import GuardedHttp
from orchestrator.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimKeeper, claim_driver
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.event_publisher import EventPublisher
from orchestrator.stores.event_streams import EventStreams
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.sessions import SessionStore
from orchestrator.stores.token_streams import TokenStreams
from orchestrator.stores.transcripts import Transcripts
from orchestrator.stores.vectors import VectorStore, open_vectors
from orchestrator.untold_ends import UntoldEnds
from orchestrator.worker_report import WorkerReport
from orchestrator.workflows.activations import SerialActivations
from orchestrator.workflows.agent_workflow import AgentWorkflow
from orchestrator.workflows.bulk_retry import BulkRetry
from orchestrator.workflows.callback_delivery import CallbackDelivery
from orchestrator.workflows.concurrency_gate import ConcurrencyGate
from orchestrator.workflows.search_attributes import TYPES
from orchestrator.workflows.start_inputs import ReadableStarts

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 10.0
STICKY_SECONDS = 3.0
"""How long a workflow task waits for the worker that has the execution cached; a killed worker costs this much."""
CLAIMS_AT_ONCE = 48
"""Large payloads of one workflow task that wait together for the store's fsync, which may take a second."""
PASSED_THROUGH = ("orchestrator", "pydantic", "pydantic_core", "orjson", "rfc8785", "jsonschema_rs", "re2")
"""What the sandboxed runner does not load anew for each execution: our pure packages and their libraries."""
CLAIM_PATIENCE_SECONDS = 3.0
"""A worker waits for a restart of the claim store; workflow tasks and heartbeats time out after ten seconds."""

T = TypeVar("T")


def workflow_runner(settings: Settings) -> SandboxedWorkflowRunner | UnsandboxedWorkflowRunner:
    """Return the runner: users' code never runs in the workflow, so production goes without the sandbox."""
    if not settings.worker_sandboxed:
        return UnsandboxedWorkflowRunner()
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def build_worker(
    client: Client,
    settings: Settings,
    activities: Sequence[Callable[..., Any]],
    interceptors: Sequence[Interceptor] = (),
) -> Worker:
    """Return a worker of the settings' task queue; the caller runs it."""
    driver = claim_driver(client.data_converter)
    if driver is not None:
        driver.patience_seconds = CLAIM_PATIENCE_SECONDS
    return Worker(
        client,
        task_queue=settings.temporal_task_queue,
        workflows=[AgentWorkflow, ConcurrencyGate, CallbackDelivery, BulkRetry],
        activities=activities,
        interceptors=interceptors,
        workflow_runner=SerialActivations(ReadableStarts(workflow_runner(settings))),
        max_cached_workflows=settings.worker_max_cached_workflows,
        max_concurrent_activities=settings.worker_max_concurrent_activities,
        max_concurrent_workflow_tasks=settings.worker_max_concurrent_workflow_tasks,
        graceful_shutdown_timeout=timedelta(seconds=settings.worker_graceful_shutdown_seconds),
        max_workflow_task_external_storage_concurrency=CLAIMS_AT_ONCE,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )


@asynccontextmanager
async def step_activities(
    client: Client, settings: Settings, factory: AgentFactory, vectors: VectorStore
) -> AsyncIterator[list[Callable[..., Any]]]:
    """Open the clients that activities use and give every activity that a workflow may name."""
    async with AsyncExitStack() as stack:
        redis = connect_redis(settings)
        stack.push_async_callback(redis.aclose)
        providers = ModelProviders(settings)
        stack.push_async_callback(providers.aclose)
        embedder = Embedder(settings.embedding_model, providers, factory.breakers)
        stack.callback(embedder.close)
        http = GuardedHttp.from_settings(settings)
        stack.push_async_callback(http.aclose)
        secrets = Secrets.from_settings(settings)
        requests = HttpActivities(http, secrets, factory.breakers)
        price = partial(cost_usd, settings.model_prices)
        tools = await stack.enter_async_context(
            open_tools(settings, redis, requests.perform, factory.breakers, memory=SemanticMemory(vectors, embedder))
        )
        driver = claim_driver(client.data_converter)
        calls = ModelCalls(providers, factory.breakers, rate_limits(settings, redis))
        tokens = TokenStreams(redis, settings.redis_key_prefix) if settings.stream_tokens else None
        sessions, costs = SessionStore(redis, settings.redis_key_prefix), TurnCosts(price)
        turns = AgentTurns(
            tools.toolbox, Transcripts(driver.claims if driver else None), sessions, costs, settings.default_model
        )
        summaries = SessionSummaries(sessions, costs, settings.default_model)
        definitions = DefinitionStore(redis, settings.redis_key_prefix)
        yield [
            *ControlActivities(client).all(),
            *BulkActivities(client, settings, definitions).all(),
            *ConcurrencyActivities(client, settings.concurrency_check_seconds).all(),
            *DefinitionActivities(definitions, client).all(),
            *requests.all(),
            *CallbackActivities(client, http, secrets, settings).all(),
            *ModelActivities(factory, calls, turns, tokens).all(),
            *SessionActivities(factory, calls, summaries).all(),
            *ToolActivities(tools, factory).all(),
            *VectorActivities(vectors, embedder, price).all(),
        ]


@asynccontextmanager
async def published_events(settings: Settings) -> AsyncIterator[ExecutionEvents]:
    """Give the interceptor by which executions tell what they do, to Redis."""
    redis = connect_redis(settings)
    publisher = EventPublisher(EventStreams(redis, settings.redis_key_prefix))
    try:
        async with publisher.writing():
            yield ExecutionEvents(publisher)
    finally:
        await redis.aclose()


async def run_worker(settings: Settings) -> None:
    """Serve the task queue until SIGTERM or SIGINT; then let running activities end gracefully.

    Waits for Temporal and Redis where they are away at the start: a worker that comes up first is no failure.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parts = await _until(stop, _connect(settings))
    if parts is not None:
        await _serve(settings, *parts, stop)


async def _until(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Return the work's result, or None where the worker was told to stop before there was one."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None


async def _connect(settings: Settings) -> tuple[Client, AgentFactory]:
    client = await _persistently(lambda: connect(settings), "Temporal")
    await _persistently(lambda: register_search_attributes(client), "Temporal")
    factory = agent_factory.bind(settings)
    await _persistently(lambda: factory.load(settings.agents_path), "Redis")
    await _persistently(lambda: load_tools(settings), "Redis")
    return client, factory


async def _serve(settings: Settings, client: Client, factory: AgentFactory, stop: asyncio.Event) -> None:
    vectors = open_vectors(settings)
    async with published_events(settings) as events, step_activities(client, settings, factory, vectors) as activities:
        worker = build_worker(client, settings, activities, [events])
        driver = claim_driver(client.data_converter)
        report = WorkerReport(settings, factory, vectors, driver.claims if driver else None)
        keeping = ClaimKeeper(client, driver).kept() if driver else nullcontext()
        untold = UntoldEnds(client, settings.temporal_task_queue).watched()
        async with report.kept_fresh(), worker, keeping, untold, factory.leases.held(lambda: report.lease):
            log.info("the worker serves", task_queue=settings.temporal_task_queue, namespace=client.namespace)
            await stop.wait()
            log.info("the worker stops", graceful_seconds=settings.worker_graceful_shutdown_seconds)
    await vectors.aclose()
    await factory.aclose()
    await disconnect(client)


async def _persistently(call: Callable[[], Awaitable[T]], part: str) -> T:
    pause = 0.2
    while True:
        try:
            return await call()
        except (Unavailable, RPCError) as error:
            log.warning(f"{part} is away; the worker waits", error=str(error), again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def register_search_attributes(client: Client) -> None:
    """Register the search attributes of executions where the namespace lacks them.

    A server that does not let the worker do so (Temporal Cloud) must have them beforehand; the log says which.
    """
    service = client.operator_service
    try:
        known = await service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
        missing = {name: kind for name, kind in TYPES.items() if name not in known.custom_attributes}
        if missing:
            await service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
    except RPCError as error:
        if error.status.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise
        log.warning("search attributes cannot be registered; add them by hand", names=list(TYPES), error=error.message)
