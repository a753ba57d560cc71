"""Records histories of executions, which every later version must replay: `python -m tests.replay.record [NAME…]`.

Without names it records every interpreter case and every example that has no history yet; a history that exists is
never replaced, because executions that were started with it may still run. A case whose behaviour changes on purpose
gets a second history beside the first: `--as 2` writes `NAME.2.json.gz`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from orchestrator.client import connect
from orchestrator.execution.messages import WORKFLOW_TYPE, ExecutionView, LoadDefinitionInput, LoadDefinitionResult
from orchestrator.settings import Settings
from tests.support.cases import Case, check, load_cases, play_all
from tests.support.commands import ROOT
from tests.support.examples import load_examples
from tests.support.executions import outcome, worker_with
from tests.support.servers import running_temporal
from tests.support.stubs import Stubs

HISTORIES = Path(__file__).parent / "histories"
CASES = ROOT / "tests" / "workflow" / "cases"
LEAD = "lead-processing"
BY_REFERENCE = "start-by-reference"


@dataclass(frozen=True)
class Recorded:
    """One execution that has ended."""

    name: str
    execution_id: str


def path_of(name: str, variant: str | None = None) -> Path:
    """Where a history is kept."""
    return HISTORIES / (f"{name}.{variant}.json.gz" if variant else f"{name}.json.gz")


def lead() -> Case:
    """The shipped lead workflow, as a case."""
    definition = json.loads((ROOT / "examples" / "lead_processing.json").read_text())
    value = json.loads((ROOT / "examples" / "lead_processing.input.json").read_text())
    return Case(LEAD, {"definition": definition, "input": value, "expect": {"status": "completed"}})


def all_cases() -> list[Case]:
    """Every interpreter case and every example."""
    return [*load_cases(CASES), *load_examples(), lead()]


async def run_cases(client: Client, settings: Settings, cases: Sequence[Case]) -> list[Recorded]:
    """Run cases; one that does not end as its file says is no behaviour to keep."""
    played = await play_all(client, settings, list(cases))
    return [Recorded(case.name, check(case, played[case.name]).execution_id) for case in cases]


async def run_by_reference(client: Client, settings: Settings) -> list[Recorded]:
    """Run what schedules and children start: an execution that loads its definition itself."""
    case = lead()

    @activity.defn(name="load_definition")
    async def load_definition(request: LoadDefinitionInput) -> LoadDefinitionResult:
        return LoadDefinitionResult(definition=case.definition, version=3, sha256="a" * 64)

    activities: list[Callable[..., Any]] = [load_definition, *Stubs().all()]
    async with worker_with(client, settings, activities) as runner:
        handle: WorkflowHandle[object, ExecutionView] = await client.start_workflow(
            WORKFLOW_TYPE,
            {"workflow_id": case.name, "input": case.data["input"]},
            id=BY_REFERENCE,
            task_queue=runner.settings.temporal_task_queue,
            result_type=ExecutionView,
        )
        view = await outcome(handle)
    assert view.status == "completed", view.error
    return [Recorded(BY_REFERENCE, BY_REFERENCE)]


async def record(address: str, names: Sequence[str], variant: str | None) -> list[Path]:
    """Run what has the names, on the server at `address`, and write the histories."""
    # Without a claim store every value is in its history.
    settings = Settings(_env_file=None, temporal_address=address, claim_store="none")
    client = await connect(settings)
    cases = [case for case in all_cases() if case.name in names]
    recorded = await run_cases(client, settings, cases)
    if BY_REFERENCE in names:
        recorded += await run_by_reference(client, settings)
    written = []
    for item in recorded:
        history = await client.get_workflow_handle(item.execution_id).fetch_history()
        path = path_of(item.name, variant)
        # No time in the archive: the same history is the same file.
        path.write_bytes(gzip.compress(history.to_json().encode(), 9, mtime=0))
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what the command line asks for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.record", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases to record; all by default")
    parser.add_argument("--as", dest="variant", help="write a further history beside the one that exists")
    options = parser.parse_args(arguments)
    known = [case.name for case in all_cases()] + [BY_REFERENCE]
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    names = [name for name in options.names or known if not path_of(name, options.variant).exists()]
    if not names:
        print("Every history asked for exists; --as VARIANT records a further one.")
        return 0
    HISTORIES.mkdir(exist_ok=True)
    # Cases fail on purpose; the SDK would print two tracebacks for each attempt.
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, running_temporal(Path(folder)) as address:
        written = asyncio.run(record(address, names, options.variant))
    print(f"Recorded {len(written)} histories, {sum(path.stat().st_size for path in written):,} bytes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
