"""Runs the `orchestrator` command as a person would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator import cli

ROOT = Path(__file__).parents[2]


def orchestrator(*arguments: str | Path, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; gives status and output."""
    command = [sys.executable, "-m", cli.__name__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)  # type: ignore[call-overload, no-any-return]
