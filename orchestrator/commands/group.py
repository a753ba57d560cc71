"""Declares the commands of a resource: each is a function of a connected client and of its arguments.

What all of them have in common stands here once: `--api` and `--output`, the connection, how an answer is printed and
the exit code. The function's text is the command's help.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer

from orchestrator.commands.options import Api, Form
from orchestrator.commands.outcome import FAILED, OK

F = TypeVar("F", bound=Callable[..., Any])
Present = Callable[[Any, Mapping[str, Any]], int]
"""Prints what a call gave, under the options it was made with; gives the exit code."""
LARGEST_PAGE = 200


def only_given(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields that a command was given; None for none of them."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])} or None


def _always(document: Any) -> bool:
    return True


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


_API = _option("api", Api, None)
_OUTPUT = _option("output", Form, "table")


class Group:
    """The commands of one resource.

    Args:
        text: what they are for.
    """

    def __init__(self, text: str) -> None:
        self.app = typer.Typer(no_args_is_help=True, help=text)

    def rows(self, *columns: str, name: str | None = None) -> Callable[[F], F]:
        """Declare a command that lists what the function's iterator gives, at most its `limit`."""

        def present(found: Any, given: Mapping[str, Any]) -> int:
            from orchestrator.commands.showing import show_rows

            show_rows(found, columns, given["output"], given["limit"])
            return OK

        return self._declare(name, present, _API, _OUTPUT)

    def shows(self, name: str | None = None, *, good: Callable[[Any], bool] = _always) -> Callable[[F], F]:
        """Declare a command that shows the document which the function gives; 1 where it is not `good`."""

        def present(found: Any, given: Mapping[str, Any]) -> int:
            from orchestrator.commands.showing import show

            show(found, given["output"])
            return OK if good(found) else FAILED

        return self._declare(name, present, _API, _OUTPUT)

    def prints(self, name: str | None = None) -> Callable[[F], F]:
        """Declare a command that prints the document which the function gives as JSON: a table would not hold it."""

        def present(found: Any, given: Mapping[str, Any]) -> int:
            from orchestrator.commands.showing import show

            show(found, "json")
            return OK

        return self._declare(name, present, _API)

    def tells(self, name: str | None = None) -> Callable[[F], F]:
        """Declare a command that says the sentence which the function gives."""

        def present(found: Any, given: Mapping[str, Any]) -> int:
            from orchestrator.commands.outcome import out

            out.print(found, markup=False)
            return OK

        return self._declare(name, present, _API)

    def _declare(self, name: str | None, present: Present, *options: inspect.Parameter) -> Callable[[F], F]:
        def declare(function: F) -> F:
            self.app.command(name)(_command(function, present, options))
            return function

        return declare


def _command(function: Callable[..., Any], present: Present, options: tuple[inspect.Parameter, ...]) -> Any:
    """Return what typer takes: the function without its client, with the options that all commands have."""
    signature = inspect.signature(function, eval_str=True)
    own = [given.replace(kind=inspect.Parameter.KEYWORD_ONLY) for given in list(signature.parameters.values())[1:]]

    def run(**given: Any) -> None:
        from orchestrator.commands.address import connect

        asked = {option.name: given[option.name] for option in own}
        if "limit" in asked:
            asked["limit"] = min(asked["limit"], LARGEST_PAGE)
        with connect(given["api"]) as client:
            code = present(function(client, **asked), given)
        raise typer.Exit(code)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = signature.replace(parameters=[*own, *options], return_annotation=None)  # type: ignore[attr-defined]
    return run
