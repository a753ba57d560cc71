"""Functions as tools: their schema, their arguments, their errors and results."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from orchestrator.agents.tools import PythonTools, Toolbox, ToolContext, tool
from orchestrator.execution.errors_steps import AttemptTimeout, StepFailure
from orchestrator.execution.errors_tools import InvalidTool, InvalidToolArguments, ToolBadResult, ToolFailed

CONTEXT = ToolContext("ex-1", "ask", "ex-1/ask/t0.0", timeout_seconds=5)


class Guest(BaseModel):
    name: str
    age: int | None = None


@tool
async def book_table(
    guest: Guest, day: date, seats: Annotated[int, Field(ge=1, le=8)] = 2, *, context: ToolContext
) -> dict[str, Any]:
    """Books a table
    for a guest.

    More for people who read the source.
    """
    return {"guest": guest, "day": day, "seats": seats, "key": context.idempotency_key}


@tool(name="thread-name", description="Names its thread.", requires_approval=True)
def thread_name() -> str:
    return threading.current_thread().name


@tool(description="Fails in several ways.")
def fail(how: Literal["raise", "timeout", "typed", "nan", "object"]) -> Any:
    if how == "raise":
        raise KeyError("nothing here")
    if how == "timeout":
        raise TimeoutError("the far end is slow")
    if how == "typed":
        raise StepFailure("closed on Mondays", code="closed", retryable=False)
    return float("nan") if how == "nan" else object()


@pytest.fixture
def toolbox() -> Toolbox:
    tools = PythonTools()
    for item in (book_table, thread_name, fail):
        tools.register(item)
    return Toolbox([tools])


async def call(toolbox: Toolbox, name: str, **arguments: Any) -> Any:
    return await toolbox.call(name, arguments, context=CONTEXT)


def test_type_hints_are_the_schema() -> None:
    spec = book_table.spec
    assert spec.name == "book_table"
    assert spec.description == "Books a table for a guest."
    assert spec.parameters["required"] == ["guest", "day"]
    assert spec.parameters["additionalProperties"] is False
    assert spec.parameters["properties"]["seats"] == {"default": 2, "maximum": 8, "minimum": 1, "type": "integer"}
    assert "context" not in spec.parameters["properties"]
    assert (thread_name.spec.name, thread_name.spec.requires_approval) == ("thread-name", True)
    assert thread_name.spec.parameters["properties"] == {}


async def test_arguments_arrive_as_their_types_say(toolbox: Toolbox) -> None:
    found = await call(toolbox, "book_table", guest={"name": "Ada"}, day="2030-01-02")
    assert found == {"guest": {"name": "Ada", "age": None}, "day": "2030-01-02", "seats": 2, "key": "ex-1/ask/t0.0"}


async def test_wrong_arguments_never_reach_the_function(toolbox: Toolbox) -> None:
    for wrong in ({"guest": {}, "day": "2030-01-02"}, {"guest": {"name": "Ada"}, "day": "soon"}, {"seats": 9}):
        with pytest.raises(InvalidToolArguments) as caught:
            await call(toolbox, "book_table", **wrong)
        assert caught.value.details["errors"]


async def test_a_function_that_is_not_async_runs_in_a_thread_of_its_own(toolbox: Toolbox) -> None:
    assert (await call(toolbox, "thread-name")).startswith("tool")


@pytest.mark.parametrize(
    ("how", "expected", "retryable"),
    [
        ("raise", ToolFailed, True),
        ("timeout", AttemptTimeout, True),
        ("typed", StepFailure, False),
        ("nan", ToolBadResult, False),
        ("object", ToolBadResult, False),
    ],
)
async def test_what_goes_wrong_is_classified(
    toolbox: Toolbox, how: str, expected: type[StepFailure], retryable: bool
) -> None:
    with pytest.raises(StepFailure) as caught:
        await call(toolbox, "fail", how=how)
    assert type(caught.value) is expected
    assert caught.value.retryable == retryable


async def test_half_a_surrogate_pair_in_a_result_is_replaced() -> None:
    tools = PythonTools()
    tools.register(tool(name="cut", description="Cuts.")(lambda: {"text": "cut \ud83d", "\udfff": ["whole 😀"]}))
    assert await call(Toolbox([tools]), "cut") == {"text": "cut ?", "?": ["whole 😀"]}


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_tool_that_takes_longer_than_it_may_is_a_timeout(asynchronous: bool) -> None:
    held = threading.Event()

    async def sleeps() -> None:
        await asyncio.Event().wait()

    def waits() -> None:
        held.wait()

    tools = PythonTools()
    tools.register(tool(name="slow", description="Waits.", timeout_seconds=0.05)(sleeps if asynchronous else waits))
    assert (await Toolbox([tools]).find("slow")).timeout_seconds == 0.05
    with pytest.raises(AttemptTimeout, match="'slow'"):
        await call(Toolbox([tools]), "slow")
    held.set()


def test_what_cannot_be_a_tool_is_refused() -> None:
    def unhinted(city) -> str:  # type: ignore[no-untyped-def] # that is the point
        """Has no hint."""
        return str(city)

    def undescribed(city: str) -> str:
        return city

    def open_ended(*cities: str) -> str:
        """Takes any number."""
        return cities[0]

    def foreign(lock: threading.Thread) -> str:
        """Takes what JSON cannot carry."""
        return lock.name

    for function, said in ((unhinted, "no type hint"), (undescribed, "no description"), (open_ended, "no name")):
        with pytest.raises(InvalidTool, match=said):
            tool(function)
    with pytest.raises(InvalidTool, match="no JSON Schema"):
        tool(foreign)
    with pytest.raises(InvalidTool, match="no name for a tool"):
        tool(name="two words", description="x")(undescribed)


def test_a_tool_is_still_the_function() -> None:
    assert thread_name() == threading.current_thread().name
    assert asyncio.iscoroutinefunction(book_table.function)
