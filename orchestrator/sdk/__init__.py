"""The Python client of the REST API, blocking and awaited."""

from orchestrator.sdk.async_client import AsyncOrchestratorClient
from orchestrator.sdk.client import OrchestratorClient
from orchestrator.sdk.errors import ApiProblem, ClientError, ServiceUnreachable, WaitEnded
from orchestrator.sdk.events import ExecutionEvent
from orchestrator.sdk.executions import CLOSED_STATUSES
from orchestrator.sdk.flows import Retries

__all__ = [
    "CLOSED_STATUSES",
    "ApiProblem",
    "AsyncOrchestratorClient",
    "ClientError",
    "ExecutionEvent",
    "OrchestratorClient",
    "Retries",
    "ServiceUnreachable",
    "WaitEnded",
]
