"""The leaves of the error tree that speak of simulations."""

from __future__ import annotations

from orchestrator.execution.errors import OrchestratorError, RequestError


class InvalidScenario(RequestError):
    """A simulation's mocks or messages do not fit the workflow."""

    code = "invalid-scenario"
    title = "Invalid scenario"


class SimulatorBusy(OrchestratorError):
    """As many simulations run as the process allows."""

    code = "simulator-busy"
    title = "Simulator busy"
    retryable = True
