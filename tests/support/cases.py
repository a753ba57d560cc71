"""Interpreter cases as data: one file holds a definition, the stubs' scripts and the expected outcome."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import RawValue

from activities.definitions import DefinitionActivities
from activities.step_activity import StepRequest, step_activity
from orchestrator.definition import validate_definition
from orchestrator.execution.errors import WorkflowNotFound
from orchestrator.execution.messages import (
    ExecutionView,
    HttpRequestInput,
    HttpRequestResult,
    LoadDefinitionInput,
    LoadDefinitionResult,
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
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore, StoredDefinition
from tests.support.executions import outcome, states, worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs

AT_ONCE = 24
"""Cases under way at the same time: most of them wait."""
LONGEST_SECONDS = 60
UPDATE_TRIES = 100
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

Request = TypeVar("Request", bound=StepRequest)


@dataclass(frozen=True)
class Case:
    """One case file.

    Attributes:
        name: the file's name, also the case's `workflow_id`.
        data: `definition`, `input`, `stubs`, `messages`, `expect`; `definitions` holds what children run, by
            `workflow_id`. A step of a child stands in `stubs` and `expect` as `<workflow_id>/<path>`.
    """

    name: str
    data: Mapping[str, Any]

    @property
    def definition(self) -> dict[str, Any]:
        """The definition, named after the file."""
        return {**self.data["definition"], "workflow_id": self.name}


@dataclass(frozen=True)
class Played:
    """What running a case gave."""

    view: ExecutionView
    stubs: Stubs
    execution_id: str = ""


def load_cases(folder: Path) -> list[Case]:
    """Read every case below a folder, by name."""
    return [Case(path.stem, json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]


class CaseDefinitions(DefinitionStore):
    """The stored definitions that one case's children run; what the real activity reads.

    Args:
        case: its `definitions`, all of version 1.
    """

    def __init__(self, case: Case) -> None:
        self._found: dict[str, StoredDefinition] = {}
        for workflow_id, definition in case.data.get("definitions", {}).items():
            validation = validate_definition({"workflow_id": workflow_id, **definition})
            assert validation.valid, [issue.to_dict() for issue in validation.errors]
            self._found[workflow_id] = StoredDefinition(
                workflow_id, 1, validation.sha256 or "", validation.document, LONG_AGO, LONG_AGO, deleted=False
            )

    async def get(self, workflow_id: str, version: int | None = None) -> StoredDefinition:
        """Return a definition."""
        found = self._found.get(workflow_id)
        if found is None or version not in (None, found.version):
            raise WorkflowNotFound(f"there is no workflow '{workflow_id}'")
        return found


class CaseStubs:
    """The activities of many cases at once: each call goes to the stubs of its own case."""

    def __init__(self, cases: list[Case]) -> None:
        self.by_case = {case.name: Stubs(case.data.get("stubs")) for case in cases}
        self._definitions = {case.name: CaseDefinitions(case) for case in cases}

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, under the names of the real ones, and one that answers to every other name."""
        return [
            self.invoke_model,
            self.http_request,
            self.call_tool,
            self.summarise_session,
            self.vector_search,
            self.vector_upsert,
            self.validate_json,
            self.load_definition,
            self.foreign,
        ]

    def _of(self, request: Request) -> tuple[Stubs, Request]:
        """Return the stubs of a call's case, and the call as they know it."""
        name, call = _case_name(), request.call
        if call.workflow_id != name:
            call = call.model_copy(update={"path": f"{call.workflow_id}/{call.path}"})
            request = request.model_copy(update={"call": call})  # type: ignore[attr-defined]
        return self.by_case[name], request

    @step_activity("invoke_model")
    async def invoke_model(self, request: InvokeModelInput) -> InvokeModelResult:
        """Play an agent."""
        stubs, request = self._of(request)
        return await stubs.play_model(request)

    @step_activity("http_request")
    async def http_request(self, request: HttpRequestInput) -> HttpRequestResult:
        """Play a far end."""
        stubs, request = self._of(request)
        return await stubs.play_http(request)

    @step_activity("call_tool")
    async def call_tool(self, request: CallToolInput) -> CallToolResult:
        """Play a tool."""
        stubs, request = self._of(request)
        return await stubs.play_tool(request)

    @step_activity("summarise_session")
    async def summarise_session(self, request: SummariseSessionInput) -> SummariseSessionResult:
        """Play the summary of a session."""
        stubs, request = self._of(request)
        return await stubs.play_summary(request)

    @step_activity("vector_search")
    async def vector_search(self, request: VectorSearchInput) -> VectorSearchResult:
        """Play a collection that is searched."""
        stubs, request = self._of(request)
        return await stubs.play_search(request)

    @step_activity("vector_upsert")
    async def vector_upsert(self, request: VectorUpsertInput) -> VectorUpsertResult:
        """Play a collection that is filled."""
        stubs, request = self._of(request)
        return await stubs.play_upsert(request)

    @step_activity("validate_json")
    async def validate_json(self, request: ValidateJsonInput) -> StepResult:
        """Check for real."""
        stubs, request = self._of(request)
        return await stubs.check(request)

    @activity.defn(name="load_definition")
    async def load_definition(self, request: LoadDefinitionInput) -> LoadDefinitionResult:
        """Pin a definition of the case, as the real activity does."""
        return await DefinitionActivities(self._definitions[_case_name()]).load_definition(request)

    @activity.defn(dynamic=True)
    async def foreign(self, arguments: Sequence[RawValue]) -> Any:
        """Play an activity that is not ours."""
        return await self.by_case[_case_name()].play_foreign(arguments)


def _case_name() -> str:
    """Return the case that the running activity belongs to: a child's id begins with its root's."""
    root, _, _ = (activity.info().workflow_id or "").partition(".")
    return root.rpartition("~")[0]


async def play_all(
    client: Client, settings: Settings, cases: list[Case], *, history_events: int | None = None, **changes: Any
) -> dict[str, Played | BaseException]:
    """Run every case on one worker and return what each gave, by name, or what went wrong in playing it.

    Args:
        client: connected.
        settings: changed by `changes`.
        cases: what to run.
        history_events: continue as new from this many events.
        **changes: settings fields.
    """
    stubs = CaseStubs(cases)
    gate = asyncio.Semaphore(AT_ONCE)
    async with worker_with(client, settings, stubs.all(), **changes) as runner:

        async def play(case: Case) -> Played:
            async with gate:
                stubs.by_case[case.name] = Stubs(case.data.get("stubs"))
                execution_id = f"{case.name}~{uuid.uuid4().hex[:12]}"
                handle = await runner.start(
                    case.definition, case.data.get("input"), execution_id, history_events=history_events
                )
                for message in case.data.get("messages", []):
                    await asyncio.sleep(message.get("after_seconds", 0))
                    await _called(stubs.by_case[case.name], message.get("once_called"))
                    await _send(handle, stubs.by_case[case.name], message)
                return Played(await _end_of(handle), stubs.by_case[case.name], handle.id)

        played = await asyncio.gather(*(play(case) for case in cases), return_exceptions=True)
        found: dict[str, Played | BaseException] = {
            case.name: result for case, result in zip(cases, played, strict=True)
        }
        # Two dozen at once distort the times that a case is about: one that fails plays once more, alone.
        for case in cases:
            if not _holds(case, found[case.name]):
                (found[case.name],) = await asyncio.gather(play(case), return_exceptions=True)
    return found


def _holds(case: Case, played: Played | BaseException) -> bool:
    try:
        check(case, played)
    except Exception:
        return False
    return True


async def _called(stubs: Stubs, path: str | None) -> None:
    """Wait until a step's activity runs."""
    await eventually(lambda: path is None or stubs.calls[path] > 0, LONGEST_SECONDS)


async def _send(handle: WorkflowHandle[object, ExecutionView], stubs: Stubs, message: Mapping[str, Any]) -> None:
    """Send a signal, a native cancel or an update, or look that a step has not run yet."""
    if "not_called_yet" in message:
        assert not stubs.calls[message["not_called_yet"]], message
    elif "update" in message:
        await _update(handle, message)
    elif message["send"] == "native_cancel":
        await handle.cancel()
    else:
        await handle.signal(message["send"], message.get("argument", ""))


async def _update(handle: WorkflowHandle[object, ExecutionView], message: Mapping[str, Any]) -> None:
    """Send an update until it is answered as expected: the execution may not have come so far yet.

    `refused` is a text that the refusal holds; without it the update is taken.
    """
    problem = ""
    for _ in range(UPDATE_TRIES):
        try:
            await handle.execute_update(message["update"], message["argument"])
            problem = ""
        except WorkflowUpdateFailedError as error:
            problem = str(error.cause)
        if bool(problem) == ("refused" in message) and message.get("refused", "") in problem:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{message} was answered with {problem!r}")


async def _end_of(handle: WorkflowHandle[object, ExecutionView]) -> ExecutionView:
    """Return how the execution ended; one that hangs keeps its view, whose status fails the case."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await outcome(handle)
    except TimeoutError:
        view: ExecutionView = await handle.query("state", result_type=ExecutionView)
        # A machine that is done shows its outcome although its workflow does not end.
        return view.model_copy(update={"status": f"still open, {view.status}"})


def check(case: Case, played: Played | BaseException) -> Played:
    """Compare what a case gave with what its file expects; a key of `expect` that nobody knows is an error."""
    if isinstance(played, BaseException):
        raise played
    expect, view, stubs = dict(case.data["expect"]), played.view, played.stubs
    assert view.status == expect.pop("status"), view.error
    if "states" in expect:
        assert states(view) == expect.pop("states")
    if "output" in expect:
        assert view.output == expect.pop("output")
    if "error" in expect:
        assert view.error is not None
        found = view.error.model_dump()
        wanted = dict(expect.pop("error"))
        text = wanted.pop("message_has", "")
        if "cause_type" in wanted:
            assert found["cause"]["type"] == wanted.pop("cause_type")
        assert text in view.error.message
        assert {key: found[key] for key in wanted} == wanted
    if "calls" in expect:
        assert dict(stubs.calls) == expect.pop("calls")
    if "attempts" in expect:
        wanted = expect.pop("attempts")
        assert {step.path: step.attempts for step in view.steps if step.path in wanted} == wanted
    for before, after in expect.pop("order", []):
        assert stubs.order.index(before) < stubs.order.index(after), stubs.order
    if "most_in_flight" in expect:
        assert stubs.most_in_flight <= expect.pop("most_in_flight")
    if "cancelled" in expect:
        assert sorted(stubs.cancelled) == sorted(expect.pop("cancelled"))
    if "ledger" in expect:
        total = view.ledger.total.model_dump() if view.ledger is not None else {}
        wanted = expect.pop("ledger")
        assert {key: total[key] for key in wanted} == wanted
    for path, wanted in expect.pop("asked", {}).items():
        assert stubs.asked(path) == wanted
    for path, wanted in expect.pop("requests", {}).items():
        assert stubs.inputs[path].model_dump(mode="json", include=set(wanted)) == wanted
    assert not expect, f"unknown keys in 'expect': {sorted(expect)}"
    return played
