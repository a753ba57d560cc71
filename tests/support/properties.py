"""How long property tests look: briefly and alike each time in the suite, long and anew each time in a soak."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK = int(os.environ.get("SOAK", "1"))
"""How many times as many examples are drawn (`make soak`)."""


def looked_through(examples: int) -> settings:
    """Return the settings of a property test.

    Args:
        examples: how many the suite draws, always the same ones; a soak draws others at every run.
    """
    return settings(
        max_examples=examples * SOAK, derandomize=SOAK == 1, deadline=None, suppress_health_check=list(HealthCheck)
    )
