"""What an agent is offered, what it may call, and how a call is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.agents.tools import Toolbox, ToolContext, ToolOffer, ToolSpec
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import (
    InvalidToolArguments,
    McpServerNotFound,
    ToolListChanged,
    ToolNotAllowed,
    ToolNotCallable,
    ToolNotFound,
)

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = ToolSpec("weather", "The weather of a city.", CITY, "python")
REPORT = ToolSpec("report", "Writes a report.", CITY, "workflow", workflow_id="report", version=2)
CONTEXT = ToolContext("ex-1", "ask", "ex-1/ask/t0.0", timeout_seconds=0.2, agent_type="sales")


@dataclass
class Source:
    """Tools that answer with what they were sent."""

    specs: Sequence[ToolSpec] = (WEATHER, REPORT)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    async def find(self, name: str) -> ToolSpec | None:
        return next((spec for spec in self.specs if spec.name == name), None)

    async def list(self) -> Sequence[ToolSpec]:
        return self.specs

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        self.calls.append((spec.name, arguments))
        if arguments["city"] == "Nowhere":
            await asyncio.Event().wait()
        return {"called": spec.name, **arguments}


@dataclass
class Servers:
    """One MCP server, `maps`."""

    names: Sequence[str] = ("maps",)
    source: Source = field(
        default_factory=lambda: Source(
            [ToolSpec("maps__find_place", "Finds.", CITY, "mcp", mcp_server="maps", mcp_tool="find.place")]
        )
    )

    async def tools(self, server: str) -> Sequence[ToolSpec]:
        return self.source.specs

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        return await self.source.call(spec, arguments, context)


@dataclass
class Offers:
    kept: dict[str, dict[str, str]] = field(default_factory=dict)

    async def keep(self, offer: ToolOffer) -> None:
        self.kept[offer.sha256] = {tool.name: tool.sha256 for tool in offer.tools}

    async def recall(self, sha256: str) -> dict[str, str] | None:
        return self.kept.get(sha256)


def agent(tools: Sequence[str] = (), mcp_servers: Sequence[str] = (), **fields: Any) -> Any:
    return SimpleNamespace(agent_type="sales", tools=tools, mcp_servers=mcp_servers, **fields)


def names(offer: ToolOffer) -> list[str]:
    return [tool.name for tool in offer.tools]


async def test_an_agent_is_offered_its_tools_and_those_of_its_servers() -> None:
    toolbox = Toolbox([Source()], Servers())
    assert names(await toolbox.offer(agent(["weather"], ["maps"]))) == ["weather", "maps__find_place"]
    assert names(await toolbox.offer(agent(["maps__find_place"]))) == ["maps__find_place"]
    assert names(await toolbox.offer(agent(["weather", "report"]), names=["report"])) == ["report"]
    assert names(await toolbox.offer(agent())) == []


async def test_a_name_outside_the_allow_list_is_refused() -> None:
    toolbox = Toolbox([Source()], Servers())
    with pytest.raises(ToolNotAllowed, match="agent 'sales' may not call tool 'report'"):
        await toolbox.offer(agent(["weather"]), names=["report"])
    with pytest.raises(ToolNotAllowed) as caught:
        await toolbox.check_allowed(agent(["weather"]), "wether")
    assert caught.value.hint == "did you mean 'weather'?"
    await toolbox.check_allowed(agent([], ["maps"]), "maps__find_place")
    await toolbox.check_allowed(agent([], ["maps"]), "find.place", "maps")
    with pytest.raises(ToolNotAllowed):
        await toolbox.check_allowed(agent(["find.place-2"], ["maps"]), "find.place", "other")


async def test_what_is_not_there_is_named_with_a_way_out() -> None:
    toolbox = Toolbox([Source()], Servers())
    with pytest.raises(ToolNotFound) as caught:
        await toolbox.offer(agent(["weathr"]))
    assert caught.value.hint == "did you mean 'weather'?"
    with pytest.raises(McpServerNotFound, match="'mops'"):
        await toolbox.offer(agent([], ["mops"]))
    with pytest.raises(ToolNotFound, match="MCP server 'maps' has no tool 'find'"):
        await toolbox.find("find", "maps")


async def test_a_policy_gates_single_tools_or_all() -> None:
    toolbox = Toolbox([Source()])
    gated = agent(["weather", "report"], tool_policy=SimpleNamespace(requires_approval=["report"]))
    assert [tool.requires_approval for tool in (await toolbox.offer(gated)).tools] == [False, True]
    gated.tool_policy.requires_approval = ["*"]
    assert [tool.requires_approval for tool in (await toolbox.offer(gated)).tools] == [True, True]


async def test_an_offers_hash_follows_what_the_model_sees() -> None:
    before = ToolOffer.of([WEATHER])
    assert before.sha256 == ToolOffer.of([WEATHER.with_approval()]).sha256
    for other in (replace(WEATHER, description="Rain."), replace(WEATHER, parameters={"type": "object"})):
        assert ToolOffer.of([other]).sha256 != before.sha256


async def test_a_call_reaches_its_tool_by_either_name() -> None:
    toolbox = Toolbox([Source()], Servers())
    city = {"city": "Bern"}
    assert await toolbox.call("weather", city, context=CONTEXT) == {"called": "weather", **city}
    for name in ("find.place", "maps__find_place"):
        answer = await toolbox.call(name, city, context=CONTEXT, mcp_server="maps")
        assert answer == {"called": "maps__find_place", **city}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, '/: "city" is a required property'),
        ({"city": 5}, "/city: 5 is not of type"),
        ([], "/: the arguments are one JSON object"),
        (None, "/: the arguments are one JSON object"),
    ],
)
async def test_arguments_are_checked_before_the_call(arguments: Any, said: str) -> None:
    source = Source()
    toolbox = Toolbox([source])
    assert toolbox.argument_errors(WEATHER, arguments)[0].startswith(said)
    with pytest.raises(InvalidToolArguments) as caught:
        await toolbox.call("weather", arguments, context=CONTEXT)
    assert caught.value.details["errors"] == toolbox.argument_errors(WEATHER, arguments)
    assert not caught.value.retryable
    assert source.calls == []


async def test_a_workflow_is_no_call() -> None:
    with pytest.raises(ToolNotCallable) as caught:
        await Toolbox([Source()]).call("report", {"city": "Bern"}, context=CONTEXT)
    assert '"workflow_id": "report"' in str(caught.value.hint)


async def test_a_slow_tool_is_a_timeout() -> None:
    with pytest.raises(AttemptTimeout) as caught:
        await Toolbox([Source()]).call("weather", {"city": "Nowhere"}, context=CONTEXT)
    assert caught.value.details == {"kind": "tool"}


async def test_a_tool_that_changed_since_the_offer_is_not_called() -> None:
    source, offers = Source([WEATHER, replace(WEATHER, name="rain")]), Offers()
    toolbox = Toolbox([source], offers=offers)
    pinned = (await toolbox.offer(agent(["weather", "rain"]))).sha256
    source.specs = [replace(WEATHER, description="Sends a mail."), source.specs[1]]
    arguments: Mapping[str, Any] = {"city": "Bern"}
    await toolbox.call("rain", arguments, context=CONTEXT, offered_sha256=pinned)
    with pytest.raises(ToolListChanged) as caught:
        await toolbox.call("weather", arguments, context=CONTEXT, offered_sha256=pinned)
    assert caught.value.details["tool"] == "weather"
    assert source.calls == [("rain", arguments)]
