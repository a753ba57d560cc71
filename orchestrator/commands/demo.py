"""`orchestrator demo`: the lead workflow, run on a stack that is there or on one started for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from rich.markup import escape

from orchestrator.commands.definitions import load_definition
from orchestrator.commands.files import read_json
from orchestrator.commands.outcome import INTERRUPTED, OK, USAGE, CommandError, out
from orchestrator.commands.stack import run_with_stack, say
from orchestrator.commands.watching import Interrupted, follow, print_outcome, wait_ready
from orchestrator.embedded.layout import Endpoints, Layout
from orchestrator.embedded.model_server import MODEL_NAME
from orchestrator.embedded.plan import uses_demo_model
from orchestrator.local_stack import LocalStack
from orchestrator.sdk import OrchestratorClient
from orchestrator.sdk.documents import ExecutionDocument
from orchestrator.settings import Settings

DEFINITION = "lead_processing.json"
INPUT = "lead_processing.input.json"
READY_SECONDS = 60.0


def demo() -> int:
    """Run the lead workflow and show it; gives 0 when it completed.

    Raises:
        CommandError: there are no examples here, or no stack answers.
    """
    _examples()
    layout = Layout.current()
    if layout.is_running():
        say("Using the stack that already runs here; it is left running.")
        return _show(_endpoints_of(layout), threading.Event())
    say("Starting the local stack…")
    return run_with_stack(_show_on, interrupted=INTERRUPTED)


async def _show_on(stack: LocalStack) -> int:
    # In a thread, because the event loop supervises the stack meanwhile.
    stop = threading.Event()
    try:
        code = await asyncio.to_thread(_show, stack.endpoints, stop)
    finally:
        stop.set()
    say("Stopping the stack; its state is kept. `make up` brings it back, with these pages, and keeps it running.")
    return code


def _examples() -> Path:
    """The folder of the examples, which come with the repository and not with the package."""
    for root in (Path(__file__).parents[2], Path.cwd()):
        if (root / "examples" / DEFINITION).is_file():
            return root / "examples"
    raise CommandError(
        "the demo's example is not here: it comes with the repository, not with the package. Run `make demo` in a "
        "clone, or `orchestrator up`, and beside it `orchestrator run` with a definition of yours",
        USAGE,
    )


def _endpoints_of(layout: Layout) -> Endpoints:
    """Where the running stack is; one that is just starting is waited for."""
    pause = threading.Event()
    for _ in range(int(READY_SECONDS * 4)):
        if endpoints := layout.read_endpoints():
            return endpoints
        pause.wait(0.25)
    raise CommandError(f"a stack holds {layout.home} but says nothing; see its logs there or stop it")


def _show(endpoints: Endpoints, stop: threading.Event) -> int:
    examples = _examples()
    workflow_id, definition = load_definition(examples / DEFINITION)
    with OrchestratorClient(endpoints.api) as client:
        if wait_ready(client, READY_SECONDS) != OK:
            raise CommandError(f"the stack at {endpoints.api} is not ready; see {Layout.current().home / 'logs'}")
        stored = client.put_workflow(workflow_id, definition)
        out.print(f"Stored [bold]{escape(workflow_id)}[/], version {stored['version']}.")
        execution_id = client.execute_workflow(workflow_id, read_json(examples / INPUT, "input"))["execution_id"]
        try:
            document = follow(client, execution_id, out, stop)
        except Interrupted:
            return INTERRUPTED
    code = print_outcome(document, out)
    _links(endpoints, document)
    return code


def _links(endpoints: Endpoints, document: ExecutionDocument) -> None:
    if uses_demo_model(Settings()):
        out.print(
            f"[dim]Answered by the demo model ({MODEL_NAME}): it shows that the plumbing works, not judgement.[/]"
        )
    out.print(f"API docs     {endpoints.api}/docs")
    out.print(f"execution    {endpoints.api}/api/v1/executions/{escape(document['execution_id'])}")
    if page := (document.get("links") or {}).get("temporal_ui"):
        out.print(f"Temporal UI  {escape(page)}")
