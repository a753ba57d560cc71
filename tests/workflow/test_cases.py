"""Every interpreter case on a real server: as in production, sandboxed, replayed at every task, continued as new."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings
from tests.support.cases import Case, Played, check, load_cases, play_all

ONLY = os.environ.get("CASES", "")
"""A pattern of case names, for work on a few of them; empty: all."""
CASES = [case for case in load_cases(Path(__file__).parent / "cases") if re.search(ONLY, case.name)]
WAYS: dict[str, dict[str, Any]] = {
    "production": {},
    "sandboxed": {"worker_sandboxed": True},
    "uncached": {"worker_max_cached_workflows": 0},
    "continued": {"history_events": 5},
}

# The fixture that plays them all belongs to whichever test comes first.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", params=WAYS)
def played(request: pytest.FixtureRequest, settings: Settings) -> dict[str, Played | BaseException]:
    """What every case gave, run one way; they share a worker, so that a hundred cases take seconds."""

    async def play() -> dict[str, Played | BaseException]:
        client = await connect(settings)
        try:
            return await play_all(client, settings, CASES, **WAYS[request.param])
        finally:
            await disconnect(client)

    return asyncio.run(play())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_ends_as_its_file_says(case: Case, played: dict[str, Played | BaseException]) -> None:
    check(case, played[case.name])
