"""Activities that play a script; their wrapper, attempts and failures are the real ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities.step_activity import step_activity
from orchestrator.execution.errors_steps import CircuitOpen, StepFailure
from orchestrator.execution.messages import (
    HttpRequestInput,
    HttpRequestResult,
    StepResult,
    ValidateJsonInput,
)
from orchestrator.execution.messages_agents import (
    CallToolInput,
    CallToolResult,
    InvokeModelInput,
    InvokeModelResult,
    SummariseSessionInput,
    SummariseSessionResult,
)
from orchestrator.execution.messages_vectors import (
    VectorSearchInput,
    VectorSearchResult,
    VectorUpsertInput,
    VectorUpsertResult,
)
from orchestrator.execution.value_checks import check_value


class Stubs:
    """Answers each step's activity from its script, one entry an attempt; the last entry stays.

    An entry is `{"result": …}`, `{"error": {"type", "message", "retryable", "retry_after_seconds"}}`,
    `{"park": seconds}`, `{"hang": true}`, `{"sleep": seconds, "result": …}`, or of an agent's turn `{"turn": {…}}` with
    the fields of an `InvokeModelResult`. A step without a script echoes what it
    was asked.
    """

    def __init__(self, scripts: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> None:
        self._scripts = scripts or {}
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.inputs: dict[str, Any] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled: list[str] = []

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, under the names of the real ones."""
        return [
            self.invoke_model,
            self.http_request,
            self.call_tool,
            self.summarise_session,
            self.vector_search,
            self.vector_upsert,
            self.validate_json,
        ]

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        """Play an agent, as an activity."""
        return await self.play_model(request)

    @step_activity("http_request")
    async def http_request(self, request: HttpRequestInput) -> HttpRequestResult:
        """Play a far end, as an activity."""
        return await self.play_http(request)

    @step_activity("call_tool")
    async def call_tool(self, request: CallToolInput) -> CallToolResult:
        """Play a tool, as an activity."""
        return await self.play_tool(request)

    @step_activity("summarise_session")
    async def summarise_session(self, request: SummariseSessionInput) -> SummariseSessionResult:
        """Play the summary of a session, as an activity."""
        return await self.play_summary(request)

    @step_activity("vector_search")
    async def vector_search(self, request: VectorSearchInput) -> VectorSearchResult:
        """Play a collection that is searched, as an activity."""
        return await self.play_search(request)

    @step_activity("vector_upsert")
    async def vector_upsert(self, request: VectorUpsertInput) -> VectorUpsertResult:
        """Play a collection that is filled, as an activity."""
        return await self.play_upsert(request)

    @step_activity("validate_json")
    async def validate_json(self, request: ValidateJsonInput) -> StepResult:
        """Check for real, as an activity: nothing outside is touched."""
        return await self.check(request)

    async def play_model(self, request: InvokeModelInput) -> InvokeModelResult:
        """Play an agent."""
        echo = {"task": request.task, "parameters": request.parameters, "dependencies": request.dependencies}
        found = await self._play(request.call.path, request, echo)
        return found if isinstance(found, InvokeModelResult) else InvokeModelResult(output=found)

    async def play_tool(self, request: CallToolInput) -> CallToolResult:
        """Play a tool; an agent's calls have scripts of their own, `<step path>:<tool>`."""
        path = f"{request.call.path}:{request.tool}" if request.agent_type is not None else request.call.path
        return CallToolResult(output=await self._play(path, request, {"arguments": request.arguments}))

    async def play_summary(self, request: SummariseSessionInput) -> SummariseSessionResult:
        """Play the summary of a session; its scripts are `<step path>:summary`, whose `result` is what it spent."""
        spent = await self._play(f"{request.call.path}:summary", request, [])
        return SummariseSessionResult(summarised=True, spent=spent)

    async def play_http(self, request: HttpRequestInput) -> HttpRequestResult:
        """Play a far end."""
        echo = {"status": 200, "headers": {}, "body": {"url": request.url, "json": request.json_body}}
        return HttpRequestResult(output=await self._play(request.call.path, request, echo))

    async def play_search(self, request: VectorSearchInput) -> VectorSearchResult:
        """Play a collection that is searched."""
        echo = request.model_dump(exclude={"call"}, exclude_none=True)
        return VectorSearchResult(output=await self._play(request.call.path, request, echo))

    async def play_upsert(self, request: VectorUpsertInput) -> VectorUpsertResult:
        """Play a collection that is filled."""
        echo = request.model_dump(exclude={"call"}, exclude_none=True)
        return VectorUpsertResult(output=await self._play(request.call.path, request, echo))

    async def play_foreign(self, arguments: Sequence[RawValue]) -> Any:
        """Play an activity that is not ours, whose step is known by the activity's id alone."""
        info, converter = activity.info(), activity.payload_converter()
        values = [converter.from_payload(argument.payload) for argument in arguments]
        try:
            return await self._play(info.activity_id, values, {"activity": info.activity_type, "arguments": values})
        except StepFailure as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=not error.retryable) from error

    def asked(self, path: str) -> Any:
        """Return what a step's last attempt was given: parameters of an agent, body of a request, arguments."""
        request = self.inputs[path]
        if isinstance(request, InvokeModelInput):
            return request.parameters
        if isinstance(request, CallToolInput):
            return request.arguments
        return request.json_body if isinstance(request, HttpRequestInput) else request

    async def check(self, request: ValidateJsonInput) -> StepResult:
        """Check a value against a schema."""
        return check_value(request)

    async def _play(self, path: str, request: Any, echo: Any) -> Any:
        script = self._scripts.get(path, [{"result": echo}])
        entry = script[min(self.calls[path], len(script) - 1)]
        self.calls[path] += 1
        self.order.append(path)
        self.inputs[path] = request
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._act(entry)
        except asyncio.CancelledError:
            self.cancelled.append(path)
            raise
        finally:
            self.in_flight -= 1

    async def _act(self, entry: Mapping[str, Any]) -> Any:
        if entry.get("hang"):
            await asyncio.Event().wait()
        if "sleep" in entry:
            await asyncio.sleep(entry["sleep"])
        if "park" in entry:
            raise CircuitOpen("the circuit is open", retry_after_seconds=entry["park"])
        if "error" in entry:
            error = entry["error"]
            failure = StepFailure(
                error.get("message", "scripted"),
                code=error.get("type", "scripted-error"),
                retryable=error.get("retryable", True),
                retry_after_seconds=error.get("retry_after_seconds"),
            )
            failure.report = error.get("report")
            raise failure
        if "turn" in entry:
            return InvokeModelResult(**entry["turn"])
        return entry.get("result")
