"""How an agent is: judged from its calls, its circuit and the living workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.stores.agent_calls import RECENT_SECONDS, AgentCalls
from orchestrator.stores.breakers import BreakerState
from orchestrator.stores.leases import WorkerLease

HealthStatus = Literal["healthy", "degraded", "unavailable"]
GOOD_SUCCESS_RATE = 0.9


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """The health of one agent.

    Attributes:
        status: `unavailable`: no worker can run it, or its circuit is open; `degraded`: calls fail (less than nine in
            ten of the recent ones succeed) or the circuit is being tried; else `healthy`.
        reason: one sentence, None where it is healthy.
        workers: how many living workers can run it.
        breaker: the circuit of its model, or of the Python agent itself.
    """

    agent_type: str
    status: HealthStatus
    reason: str | None
    workers: int
    breaker: BreakerState
    calls: AgentCalls

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; times are ISO 8601, UTC."""
        calls = {key: _json(value) for key, value in asdict(self.calls).items()}
        return {
            "agent_type": self.agent_type,
            "status": self.status,
            "reason": self.reason,
            "workers": self.workers,
            "breaker": {key: _json(value) for key, value in asdict(self.breaker).items()},
            **calls,
        }


def judge(
    agent_type: str, *, python: bool, calls: AgentCalls, breaker: BreakerState, workers: Sequence[WorkerLease]
) -> AgentHealth:
    """Return an agent's health.

    Args:
        agent_type: whose.
        python: whether it is a Python agent, which only the workers that registered it can run.
        calls: how its calls went.
        breaker: its circuit.
        workers: the living workers.
    """
    able = [worker for worker in workers if not python or agent_type in worker.agents]
    status, reason = _status(calls, breaker, len(able))
    return AgentHealth(agent_type, status, reason, len(able), breaker, calls)


def _status(calls: AgentCalls, breaker: BreakerState, workers: int) -> tuple[HealthStatus, str | None]:
    if not workers:
        return "unavailable", "no living worker can run it"
    if breaker.state == "open":
        return "unavailable", f"the circuit of '{breaker.name}' is open"
    if breaker.state == "half-open":
        return "degraded", f"the circuit of '{breaker.name}' is half-open: the next call tries it"
    if calls.success_rate is not None and calls.success_rate < GOOD_SUCCESS_RATE:
        minutes = f"{RECENT_SECONDS / 60:.0f} minutes"
        return "degraded", f"{calls.success_rate:.0%} of the {calls.recent_calls} calls of the last {minutes} succeeded"
    return "healthy", None


def _json(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
