"""The deployment's scripts against the real servers."""

from __future__ import annotations

import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from deploy.healthcheck import worker_is_live
from orchestrator.settings import Settings
from orchestrator.stores.leases import WorkerLease, WorkerLeases
from orchestrator.stores.redis import connect_redis
from orchestrator.workflows.search_attributes import TYPES

ROOT = Path(__file__).resolve().parents[2]


async def test_the_namespace_job_sets_retention_and_search_attributes_and_may_run_twice(
    temporal_client: Client, temporal_address: str
) -> None:
    import asyncio

    namespace = f"deploy-{uuid.uuid4().hex[:8]}"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "TEMPORAL_ADDRESS": temporal_address,
        "TEMPORAL_NAMESPACE": namespace,
    }
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            "sh",
            str(ROOT / "deploy/temporal/namespace.sh"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
    described = await temporal_client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    assert described.config.workflow_execution_retention_ttl.seconds == 30 * 24 * 3600
    listed = await temporal_client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    assert {name: listed.custom_attributes[name] for name in TYPES} == TYPES


async def test_a_worker_is_healthy_while_it_holds_a_lease(
    isolated_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", isolated_settings.redis_url)
    monkeypatch.setenv("REDIS_KEY_PREFIX", isolated_settings.redis_key_prefix)
    lease = WorkerLease(worker_id="w1", pid=1, task_queue="q", host="this-host", started_at=datetime.now(UTC))
    redis = connect_redis(isolated_settings)
    try:
        leases = WorkerLeases(redis, isolated_settings.redis_key_prefix)
        assert not await worker_is_live("this-host")
        await leases.refresh(lease)
        assert await worker_is_live("this-host")
        assert not await worker_is_live("another-host")
        await leases.release("w1")
        assert not await worker_is_live("this-host")
    finally:
        await redis.aclose()
