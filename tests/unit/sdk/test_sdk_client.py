"""The client repeats what may be repeated, pages, waits, and tells what went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import pytest

from orchestrator.sdk import (
    ApiProblem,
    AsyncOrchestratorClient,
    OrchestratorClient,
    Retries,
    ServiceUnreachable,
    WaitEnded,
)
from orchestrator.sdk.flows import Answer

FAST = Retries(most=3, first_seconds=0.001)
AWAY = {"title": "Redis unavailable", "detail": "Redis does not answer", "code": "redis-unavailable", "status": 503}
DOCUMENT = {"execution_id": "ex-1", "workflow_id": "w", "status": "running", "links": {"self": "/"}}


class Script:
    """Answers in turn; remembers the requests."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        return httpx2.Response(status, json=body, headers=headers[0] if headers else {})

    @property
    def keys(self) -> set[str | None]:
        return {request.headers.get("idempotency-key") for request in self.requests}


def client_of(script: Callable[[httpx2.Request], httpx2.Response], retries: Retries = FAST) -> OrchestratorClient:
    return OrchestratorClient("http://here", retries=retries, transport=httpx2.MockTransport(script))


def test_a_read_is_sent_again_until_the_service_is_back() -> None:
    script = Script((503, AWAY), httpx2.ReadError("broken"), (502, {}), (200, DOCUMENT))
    assert client_of(script).get_execution("ex-1")["status"] == "running"
    assert len(script.requests) == 4


def test_a_start_is_sent_again_with_the_same_key_and_two_starts_have_two() -> None:
    script = Script((503, AWAY), (202, DOCUMENT), (202, DOCUMENT))
    client = client_of(script)
    client.execute_workflow("w", {})
    assert len(script.requests) == 2
    assert len(script.keys) == 1
    client.execute_workflow("w", {})
    assert len(script.keys) == 2
    assert None not in script.keys


def test_an_action_that_may_have_happened_is_not_sent_again() -> None:
    for answer in ((503, AWAY), httpx2.ReadTimeout("late")):
        script = Script(answer)
        with pytest.raises((ApiProblem, ServiceUnreachable)):
            client_of(script).pause_execution("ex-1")
        assert len(script.requests) == 1


def test_an_action_that_cannot_have_happened_is_sent_again() -> None:
    script = Script((429, {"title": "Slow down"}), httpx2.ConnectError("refused"), (202, DOCUMENT))
    assert client_of(script).pause_execution("ex-1")["execution_id"] == "ex-1"


def test_the_last_answer_is_told_when_retries_are_used_up() -> None:
    script = Script(*[(503, AWAY)] * 4)
    with pytest.raises(ApiProblem) as problem:
        client_of(script).get_execution("ex-1")
    assert len(script.requests) == 4
    assert (problem.value.status, problem.value.code, str(problem.value)) == (503, AWAY["code"], AWAY["detail"])
    assert problem.value.document == AWAY


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 413, 415, 422, 500])
def test_other_errors_are_told_at_once(status: int) -> None:
    script = Script((status, {"title": "No", "detail": "no", "hint": "mend it", "errors": [{"pointer": "/a"}]}))
    with pytest.raises(ApiProblem) as problem:
        client_of(script).get_execution("ex-1")
    assert (problem.value.status, problem.value.hint, problem.value.errors) == (status, "mend it", [{"pointer": "/a"}])


def test_retry_after_is_waited_for_and_one_that_is_too_long_is_told() -> None:
    call = OrchestratorClient.get_execution.call(None, "ex-1")
    refused = Answer(503, {"retry-after": "7"}, b"", "http://here")
    pause = Retries().pause(call, refused, 0)
    assert pause == 7
    assert Retries(longest_seconds=6).pause(call, refused, 0) is None
    script = Script((503, AWAY, {"Retry-After": "3600"}))
    with pytest.raises(ApiProblem) as problem:
        client_of(script).get_execution("ex-1")
    assert problem.value.retry_after_seconds == 3600


def test_pauses_grow_and_are_bounded() -> None:
    call = OrchestratorClient.get_execution.call(None, "ex-1")
    away = ServiceUnreachable("away")
    retries = Retries(most=20, first_seconds=1, longest_seconds=8)
    for number, most in enumerate([1, 2, 4, 8, 8, 8]):
        pauses = {retries.pause(call, away, number) for _ in range(20)}
        assert all(pause is not None and most / 2 <= pause <= most for pause in pauses)
        assert len(pauses) > 1


def test_an_iterator_gives_the_items_of_every_page_and_keeps_the_filter() -> None:
    script = Script(
        (200, {"items": [{"execution_id": "1"}, {"execution_id": "2"}], "next_cursor": "c"}),
        (503, AWAY),
        (200, {"items": [{"execution_id": "3"}], "next_cursor": None}),
    )
    found = client_of(script).iter_executions(status="failed", limit=2)
    assert [item["execution_id"] for item in found] == ["1", "2", "3"]
    assert [dict(request.url.params) for request in script.requests] == [
        {"status": "failed", "limit": "2"},
        *[{"status": "failed", "limit": "2", "cursor": "c"}] * 2,
    ]


def test_a_page_that_nobody_asks_for_is_not_read() -> None:
    script = Script((200, {"items": [{"workflow_id": "1"}], "next_cursor": "c"}))
    found = client_of(script).iter_workflows()
    assert next(iter(found))["workflow_id"] == "1"
    assert len(script.requests) == 1


def test_waiting_for_an_execution_reads_it_until_it_is_closed() -> None:
    script = Script((202, DOCUMENT), (200, DOCUMENT), (200, {**DOCUMENT, "status": "failed"}))
    assert client_of(script).execute_and_wait("w", {"x": 1})["status"] == "failed"
    start = json.loads(script.requests[0].content)
    assert start == {"input_data": {"x": 1}, "async_execution": False, "wait_seconds": 60.0}
    assert [request.url.path for request in script.requests[1:]] == ["/api/v1/executions/ex-1"] * 2


def test_waiting_ends_when_the_caller_says_so() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=DOCUMENT)

    with pytest.raises(WaitEnded) as ended:
        client_of(answer).wait_for_execution("ex-1", timeout_seconds=0.05)
    assert ended.value.document == DOCUMENT


def test_ids_are_quoted_and_ids_that_lead_elsewhere_are_refused() -> None:
    script = Script((200, DOCUMENT))
    client = client_of(script)
    client.get_execution("a/../b?c#d%")
    assert script.requests[0].url.raw_path == b"/api/v1/executions/a%2F..%2Fb%3Fc%23d%25"
    for wrong in ("", ".", ".."):
        with pytest.raises(ValueError, match="names no resource"):
            client.get_execution(wrong)


def test_expected_versions_become_preconditions() -> None:
    script = Script(*[(200, {})] * 3)
    client = client_of(script)
    for expected in (None, 0, 3):
        client.put_workflow("w", {}, expected_version=expected)
    found = [
        {name: value for name, value in request.headers.items() if name.startswith("if-")}
        for request in script.requests
    ]
    assert found == [{}, {"if-none-match": "*"}, {"if-match": '"3"'}]


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"null"])
def test_what_is_no_document_is_no_orchestrator(content: bytes) -> None:
    with pytest.raises(ServiceUnreachable, match="http://here is not an orchestrator"):
        client_of(lambda _: httpx2.Response(200, content=content)).get_execution("ex-1")


def test_the_key_is_sent() -> None:
    script = Script((200, DOCUMENT))
    with OrchestratorClient("http://here", api_key="aok_1", transport=httpx2.MockTransport(script)) as client:
        client.get_execution("ex-1")
    assert script.requests[0].headers["authorization"] == "Bearer aok_1"


async def test_the_awaiting_client_does_the_same() -> None:
    script = Script(
        (503, AWAY),
        (202, DOCUMENT),
        (200, {**DOCUMENT, "status": "completed"}),
        (200, {"items": [{"workflow_id": "1"}], "next_cursor": "c"}),
        (200, {"items": [{"workflow_id": "2"}]}),
        (404, {"title": "Not found"}),
    )
    transport = httpx2.MockTransport(script)
    async with AsyncOrchestratorClient("http://here", retries=FAST, transport=transport) as client:
        assert (await client.execute_and_wait("w", {}))["status"] == "completed"
        assert [item["workflow_id"] async for item in client.iter_workflows()] == ["1", "2"]
        with pytest.raises(ApiProblem):
            await client.get_execution("ex-1")
    assert len(script.requests) == 6


# --- events -------------------------------------------------------------------------------------------------------


def frames(*events: tuple[str, str]) -> bytes:
    return b"".join(f'id: {place}\nevent: {kind}\ndata: {{"at": "{place}"}}\n\n'.encode() for place, kind in events)


class Streams:
    """Gives parts of one stream of events, from the event behind `Last-Event-ID`; each connection breaks after two."""

    EVENTS = (("1", "step"), ("2", "step"), ("3", "step"), ("4", "step"), ("5", "end"))

    def __init__(self, *, torn: bool = False) -> None:
        self.places: list[str | None] = []
        self._torn = torn

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        place = request.headers.get("last-event-id")
        self.places.append(place)
        if len(self.places) == 2:
            return httpx2.Response(503, json=AWAY)
        left = [event for event in self.EVENTS if place is None or event[0] > place]
        content = b": hello\n\n" + frames(*left[:2]) + (b"id: 9\nevent: st" if self._torn else b"")
        return httpx2.Response(200, content=content, headers={"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("torn", [False, True])
def test_events_go_on_behind_the_last_one_when_a_connection_breaks(torn: bool) -> None:
    streams = Streams(torn=torn)
    found = list(client_of(streams).events("ex-1"))
    assert [(event.id, event.type) for event in found] == list(Streams.EVENTS)
    assert found[0].data == {"at": "1"}
    assert streams.places == [None, "2", "2", "4"]


async def test_events_are_awaited_alike() -> None:
    streams = Streams()
    transport = httpx2.MockTransport(streams)
    async with AsyncOrchestratorClient("http://here", retries=FAST, transport=transport) as client:
        found = [(event.id, event.type) async for event in client.events("ex-1", after="1")]
    assert found == list(Streams.EVENTS[1:])


@pytest.mark.parametrize(
    ("answer", "wrong"), [((404, {"title": "Not found"}), ApiProblem), ((200, {}), ServiceUnreachable)]
)
def test_what_is_no_stream_of_events_is_told(answer: Any, wrong: type[Exception]) -> None:
    with pytest.raises(wrong):
        list(client_of(Script(answer)).events("ex-1"))


def test_a_finished_stream_is_not_opened_again() -> None:
    script = Script((204, None))
    assert list(client_of(script).events("ex-1", after="5")) == []
    assert len(script.requests) == 1


def taken(items: Iterable[Any], count: int) -> list[Any]:
    return [item for item, _ in zip(items, range(count), strict=False)]


def test_a_reader_may_leave() -> None:
    closed = []

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Any:
            yield frames(("1", "step"), ("2", "step"))
            raise AssertionError("read on")

        def close(self) -> None:
            closed.append(True)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Body(), headers={"Content-Type": "text/event-stream"})

    events = client_of(answer).events("ex-1")
    assert len(taken(events, 1)) == 1
    events.close()  # type: ignore[attr-defined]  # an iterator for callers, a generator here
    assert closed
