"""Exit codes, and how every error of a command becomes a sentence."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console
from rich.markup import escape

from orchestrator.sdk.errors import ApiProblem, ServiceUnreachable, WaitEnded
from orchestrator.settings import Settings

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


class CommandError(Exception):
    """A command cannot go on; the message is a sentence with a way out."""

    def __init__(self, message: str, code: int = FAILED, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def explained(error: Exception) -> CommandError | None:
    """The sentence for an error that a command may meet; None for one that nobody foresaw."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        details = tuple(map(_setting_line, error.errors()))
        return CommandError("the settings in the environment or .env are not valid; correct these", USAGE, details)
    if isinstance(error, WaitEnded):
        return CommandError(f"{error}; it goes on.")
    if isinstance(error, ServiceUnreachable):
        return CommandError(f"{error}. Start one with `make up`, or name its address with --api.", UNREACHABLE)
    if isinstance(error, ApiProblem):
        code = UNREACHABLE if error.status in {502, 503, 504} else FAILED
        hint = f" ({error.hint})" if error.hint else ""
        return CommandError(f"{error.detail}{hint}", code, tuple(map(_issue_line, error.errors)))
    return None


def report(error: CommandError) -> int:
    """Print the error to standard error; gives the exit code."""
    err.print(f"[bold red]Error:[/] {escape(str(error))}")
    for line in error.details:
        err.print(f"  {escape(line)}")
    return error.code


def _setting_line(error: ErrorDetails) -> str:
    """Return one fault as `VARIABLE: what is wrong`; a rule over several variables names them itself."""
    variable = "__".join(map(str, error["loc"])).upper()
    message = error["msg"].removeprefix("Value error, ")
    return f"{variable}: {message}" if variable else message


def _issue_line(issue: dict[str, Any]) -> str:
    hint = f" ({issue['hint']})" if issue.get("hint") else ""
    return f"{issue.get('pointer') or '/'}: {issue.get('message') or issue.get('detail') or 'is invalid'}{hint}"
