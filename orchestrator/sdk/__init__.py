"""The Python client of the REST API."""

from orchestrator.sdk.client import CLOSED_STATUSES, OrchestratorClient
from orchestrator.sdk.errors import ApiProblem, ClientError, ServiceUnreachable

__all__ = ["CLOSED_STATUSES", "ApiProblem", "ClientError", "OrchestratorClient", "ServiceUnreachable"]
