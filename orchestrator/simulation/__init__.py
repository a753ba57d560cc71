"""Runs a definition in memory, with mocks for everything outside and time skipped."""

from orchestrator.simulation.library import Library, children_of
from orchestrator.simulation.mocks import Message, Mock, MockError, Scenario
from orchestrator.simulation.report import SimulationReport
from orchestrator.simulation.scenario_check import read_scenario
from orchestrator.simulation.simulator import simulate
from orchestrator.simulation.world import Bounds

__all__ = [
    "Bounds",
    "Library",
    "Message",
    "Mock",
    "MockError",
    "Scenario",
    "SimulationReport",
    "children_of",
    "read_scenario",
    "simulate",
]
