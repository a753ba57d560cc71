"""The clients and stores that routes use, opened once with the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis
from temporalio.client import Client

from api.event_frames import EventFrames
from api.executions import ExecutionReader
from api.key_watch import KeyWatch
from api.temporal_calls import TemporalCalls
from orchestrator.agents import AgentFactory
from orchestrator.client import ConcurrencyGates
from orchestrator.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.stores.api_keys import ApiKeys
from orchestrator.stores.audit import AuditLog
from orchestrator.stores.cell_rates import CellRates
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.failed_attempts import FailedAttempts
from orchestrator.stores.leases import WorkerLeases


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that one API process holds. Nothing here connects before its first call."""

    settings: Settings
    redis: Redis
    temporal: Client
    calls: TemporalCalls
    definitions: DefinitionStore
    agents: AgentFactory
    leases: WorkerLeases
    keys: ApiKeys
    key_watch: KeyWatch
    audit: AuditLog
    executions: ExecutionReader
    gates: ConcurrencyGates
    secrets: Secrets
    hook_rates: CellRates
    hook_failures: FailedAttempts
    events: EventFrames


def services_of(request: Request) -> Services:
    """Return the app's services."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
