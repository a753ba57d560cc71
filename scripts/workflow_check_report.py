"""Tells what a check found: readable lines for the person, everything in the log file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape

from orchestrator.execution.messages import ExecutionView


class Report:
    """Counts what held and what did not.

    Args:
        log: opened for appending; gets every line with its time, and every execution in full.
        console: gets the lines.
    """

    def __init__(self, log: TextIO, console: Console) -> None:
        self._log = log
        self._console = console
        self.held = 0
        self.failures: list[str] = []

    @classmethod
    def to(cls, path: Path) -> Report:
        """Return a report that appends to a log file."""
        return cls(path.open("a", encoding="utf-8"), Console(highlight=False, soft_wrap=True))

    def say(self, text: str) -> None:
        """Tell one line."""
        self._write("INFO", text)
        self._console.print(escape(text))

    def begin(self, title: str) -> None:
        """Begin a group of checks."""
        self._write("INFO", f"== {title}")
        self._console.print(f"\n[bold]{escape(title)}[/]")

    def expect(self, holds: bool, claim: str, found: object = None) -> None:
        """Note whether a claim holds.

        Args:
            holds: whether it does.
            claim: a sentence that is true when it holds.
            found: what was found instead, told when it does not.
        """
        if holds:
            self.held += 1
            self._write("PASS", claim)
            self._console.print(f"  [green]✓[/] {escape(claim)}")
            return
        instead = "" if found is None else f" (found: {found})"
        self.failures.append(f"{claim}{instead}")
        self._write("FAIL", f"{claim}{instead}")
        self._console.print(f"  [red]✗ {escape(claim + instead)}[/]")

    def execution(self, execution_id: str, view: ExecutionView) -> None:
        """Keep an execution in the log: its steps, its output or error, and the whole envelope."""
        self._write("EXECUTION", f"{execution_id} of workflow '{view.workflow_id}' ended as {view.status}")
        for step in view.steps:
            error = f": {step.error.type}: {step.error.message}" if step.error else ""
            times = f"{step.started_at or 'never'} .. {step.finished_at or 'never'}"
            self._write("STEP", f"{execution_id} {step.path} {step.state}, {step.attempts} attempts, {times}{error}")
        self._write("ENVELOPE", f"{execution_id} {json.dumps(view.model_dump(mode='json'), ensure_ascii=False)}")

    def finish(self) -> int:
        """Tell the outcome and close the log; gives the exit code."""
        total = self.held + len(self.failures)
        self.say(f"\n{self.held} of {total} checks hold; executions are logged in {self._log.name}")
        for failure in self.failures:
            self.say(f"does not hold: {failure}")
        self._log.close()
        return 1 if self.failures or not total else 0

    def _write(self, kind: str, text: str) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for line in text.strip("\n").splitlines():
            self._log.write(f"{moment} {kind:9} {line}\n")
        self._log.flush()
