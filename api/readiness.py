"""Asks the parts that executions need whether they serve, all at once and bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError

from api.dependencies import Services
from api.schemas.health import PartHealth
from orchestrator.execution.errors import OrchestratorError
from orchestrator.stores.claims import claim_driver
from orchestrator.stores.leases import WorkerLease
from orchestrator.stores.redis import redis_errors

CHECK_SECONDS = 1.2
REQUIRED = ("temporal", "redis", "worker", "claims")


async def check_parts(services: Services) -> dict[str, PartHealth]:
    """Return every part's health, in less than two seconds whatever is away."""
    leases: list[WorkerLease] = []

    async def live_workers() -> str:
        leases.extend(
            lease for lease in await services.leases.live() if lease.task_queue == services.settings.temporal_task_queue
        )
        return f"{len(leases)} polling '{services.settings.temporal_task_queue}'"

    temporal, redis, worker, (identity, claims) = await asyncio.gather(
        _checked(lambda: _temporal(services)),
        _checked(lambda: _redis(services)),
        _checked(live_workers),
        _claims(services),
    )
    if worker.status == "ok" and not leases:
        worker = PartHealth(
            status="down",
            detail=f"no worker polls '{services.settings.temporal_task_queue}'; start one with `orchestrator worker`",
            latency_ms=worker.latency_ms,
        )
    if leases:
        worker.workers = [_shown(lease) for lease in leases]
    return {
        "temporal": temporal,
        "redis": redis,
        "worker": worker,
        "claims": _shared(claims, identity, leases),
        "model": _told([lease.model for lease in leases]),
        "vectors": _told([lease.vectors for lease in leases]),
    }


async def _checked(check: Callable[[], Awaitable[str]]) -> PartHealth:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            status, detail = "ok", await check()
    except TimeoutError:
        status, detail = "down", f"no answer within {CHECK_SECONDS:g} s"
    except OrchestratorError as error:
        status, detail = "down", error.message
    except RPCError as error:
        status, detail = "down", f"Temporal refuses: {error.message}"
    elapsed = round((time.perf_counter() - began) * 1000, 1)
    return PartHealth.model_validate({"status": status, "detail": detail, "latency_ms": elapsed})


async def _temporal(services: Services) -> str:
    namespace = services.settings.temporal_namespace
    async with services.calls.bounded(CHECK_SECONDS, patience_seconds=0):
        await services.temporal.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    return f"namespace '{namespace}' at {services.settings.temporal_address}"


async def _redis(services: Services) -> str:
    async with redis_errors():
        await services.redis.ping()
    return "answers"


async def _claims(services: Services) -> tuple[str, PartHealth]:
    """Return which claim store this API uses, and how it answers."""
    identity = "none"

    async def ask() -> str:
        nonlocal identity
        driver = claim_driver(services.temporal.data_converter)
        if driver is None:
            return "none: large values stay in histories"
        identity = await driver.claims.identity()
        return f"{driver.name()} store, shared with every worker"

    health = await _checked(ask)
    return identity, health


def _shared(claims: PartHealth, identity: str, leases: list[WorkerLease]) -> PartHealth:
    """Return the part as down where a worker says that it uses another store: it could not read this API's values."""
    strangers = [lease.worker_id for lease in leases if lease.claims and lease.claims.get("identity") != identity]
    if claims.status != "ok" or not strangers:
        return claims
    return PartHealth(
        status="down",
        detail=f"worker {strangers[0]} uses another claim store; give the API and all workers the same "
        "CLAIM_… settings, REDIS_URL and REDIS_KEY_PREFIX",
        latency_ms=claims.latency_ms,
    )


def _shown(lease: WorkerLease) -> dict[str, Any]:
    return lease.model_dump(mode="json", include={"worker_id", "pid", "host", "started_at", "task_queue"})


def _told(reports: list[dict[str, Any]]) -> PartHealth:
    """Return what the workers tell about a part of theirs: well if one of them says so."""
    known = [report for report in reports if report]
    if not known:
        return PartHealth(status="unknown", detail="no worker reports it")
    best = next((report for report in known if report.get("status") == "ok"), known[0])
    status = best.get("status") if best.get("status") in ("ok", "down") else "unknown"
    detail = best.get("detail") or ", ".join(f"{key}={value}" for key, value in best.items() if key != "status")
    return PartHealth.model_validate({"status": status, "detail": str(detail)})
