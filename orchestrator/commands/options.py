"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Output = Literal["table", "text", "json"]
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
