"""The figures that are asked for, measured at full size: `pytest -m bench tests/integration/test_figures.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.commands import ROOT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
TOLERANCE = 1.4
"""The expression figures are good to 40 %."""


def figures(script: str, *options: str) -> dict[str, Any]:
    """Run a benchmark on its own; its last line is JSON."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_foreach_over_10000_items_stays_within_its_bounds() -> None:
    found = figures("scale.py", "--items", "10000", "--concurrency", "100", "--chain", "0", "--dag", "0")
    assert found["foreach_calls"] == 10_000
    assert found["foreach_most_in_flight"] == 100
    assert found["foreach_longest_history"] <= 10_240
    assert found["foreach_peak_memory_mb"] < 1024
    assert found["foreach_last_over_first_cpu_ratio"] <= 1.2
    assert found["foreach_lost_tasks"] == {}


def test_a_chain_of_5000_steps_completes_at_a_flat_cost() -> None:
    found = figures("scale.py", "--items", "0", "--chain", "5000", "--dag", "0")
    assert found["chain_calls"] == 5_000
    assert found["chain_longest_history"] <= 10_240
    assert found["chain_last_over_first_cpu_ratio"] <= 1.2


def test_a_dag_of_1000_steps_is_activated_within_200_milliseconds() -> None:
    found = figures("scale.py", "--items", "0", "--chain", "0", "--dag", "1000")
    assert found["dag_calls"] == 1_000
    assert found["dag_activation_p99_ms"] < 200


def test_expressions_cost_what_their_page_says() -> None:
    from benchmarks.expressions import FIGURES_MICROSECONDS

    found = figures("expressions.py")
    late = {
        name: found[f"{name}_us"]
        for name, most in FIGURES_MICROSECONDS.items()
        if found[f"{name}_us"] > most * TOLERANCE
    }
    assert late == {}
    assert found["worst_hostile_ms"] < 200
    assert found["most_memory_hostile_mb"] < 50
