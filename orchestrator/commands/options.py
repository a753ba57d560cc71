"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Output = Literal["table", "text", "json"]
Status = Literal[
    "queued", "running", "paused", "awaiting", "completed", "failed", "cancelled", "terminated", "timed_out"
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api", "--api-url", envvar="ORCHESTRATOR_API", help="Address of the API; the local stack's by default."
    ),
]
Form = Annotated[Output, typer.Option("--output", "-o", help="How the answer is printed; text is the same as table.")]
ExecutionId = Annotated[str, typer.Argument(help="The execution's id, as `run` printed it.")]
WorkflowId = Annotated[str, typer.Argument(help="The workflow's id, such as `lead-processing`.")]
StepPath = Annotated[str, typer.Argument(help="The step's path, such as `enrich[3].call`.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Kept with the action.")]
Most = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
DefinitionFile = Annotated[Path, typer.Argument(help="A workflow definition (JSON); `-` reads standard input.")]
InputFile = Annotated[Path | None, typer.Option("--input", help="The input (JSON).")]
Text = Annotated[str | None, typer.Option("--text", help="In id, name and description.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="The latest by default.")]
Expected = Annotated[
    int | None, typer.Option("--expected-version", min=0, help="Refuse unless this version is the latest.")
]
