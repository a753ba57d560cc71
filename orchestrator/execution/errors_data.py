"""The leaves of the error tree that speak of how much data an execution holds."""

from __future__ import annotations

from orchestrator.execution.errors_steps import StepFailure


class LiveDataTooLarge(StepFailure):
    """The outputs and variables that the execution holds would be over 64 MiB."""

    code = "live-data-too-large"
    title = "Live data too large"


class CollectedOutputTooLarge(StepFailure):
    """What a block, or the execution, collects from its steps is over 10 MiB."""

    code = "collected-output-too-large"
    title = "Collected output too large"
