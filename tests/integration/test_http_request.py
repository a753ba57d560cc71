"""The activity `http_request` as Temporal runs it, against a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from activities.http import HttpActivities
from orchestrator.execution.messages import HttpRequestInput, HttpRequestResult, StepCall
from orchestrator.guarded_http import AllowList, GuardedHttp
from orchestrator.secrets import Secrets
from tests.support.activity_environment import activity_environment
from tests.unit.guarded_http.raw_server import RawServer, Received, answer, raw_server

CALL = StepCall(
    execution_id="ex-1", workflow_id="w", path="call", step_id="call", idempotency_key="ex-1/call", max_attempts=5
)


async def perform(url: str, **fields: Any) -> HttpRequestResult:
    """Run the activity once."""
    client = GuardedHttp(AllowList.parse(["127.0.0.1"]), max_response_bytes=1_000_000)
    try:
        activities = HttpActivities(client, Secrets())
        request = HttpRequestInput(call=CALL, url=url, **fields)
        result = await activity_environment().run(activities.http_request, request)
        assert isinstance(result, HttpRequestResult)
        HttpRequestResult.model_validate_json(result.model_dump_json())
        return result
    finally:
        await client.aclose()


async def sent(**fields: Any) -> Received:
    """Run the activity and return what the server received."""
    async with raw_server(lambda request: answer(body=b"{}", Content_Type="application/json")) as server:
        await perform(f"{server.url}/path?a=1", **fields)
    return server.requests[0]


async def received(reply: bytes, **fields: Any) -> Any:
    """Run the activity and return its output for this reply."""
    async with raw_server(lambda request: reply) as server:
        return (await perform(server.url, **fields)).output


async def failure(reply: bytes | Callable[[Received], bytes], **fields: Any) -> ApplicationError:
    """Run the activity and return the failure that this reply leads to."""
    async with raw_server(reply if callable(reply) else lambda request: reply) as server:
        with pytest.raises(ApplicationError) as caught:
            await perform(server.url, **fields)
    return caught.value


def told(error: ApplicationError) -> dict[str, Any]:
    """The details of a failure."""
    found = error.details[0]["details"]
    assert isinstance(found, dict)
    return found


async def test_json_goes_out_and_comes_back() -> None:
    def echo(request: Received) -> bytes:
        body = json.dumps({"got": json.loads(request.body)}).encode()
        return answer(201, body, Content_Type="application/json; charset=utf-8", X_Twice="1")

    async with raw_server(echo) as server:
        result = await perform(server.url, method="post", json_body={"name": "Zoë"}, has_json=True)
    assert result.output["status"] == 201
    assert result.output["body"] == {"got": {"name": "Zoë"}}
    assert result.output["headers"]["x-twice"] == "1"
    assert result.attempts == 1
    request = server.requests[0]
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "ex-1/call"


async def test_the_users_headers_win_over_ours() -> None:
    request = await sent(headers={"idempotency-key": "mine", "Accept": "text/csv", "X-Number": 7, "X-None": None})
    assert request.headers["idempotency-key"] == "mine"
    assert request.headers["accept"] == "text/csv"
    assert request.headers["x-number"] == "7"
    assert "x-none" not in request.headers


async def test_the_query_is_added_to_the_urls_own() -> None:
    request = await sent(query={"q": "a b&c", "many": [1, True], "none": None, "odd": "\ud800"})
    assert request.target == "/path?a=1&q=a+b%26c&many=1&many=true&odd=%3F"


async def test_form_and_text_bodies_are_sent_as_what_they_are() -> None:
    form = await sent(method="POST", form={"a": "1 2", "b": ["x", "y"]})
    assert form.body == b"a=1+2&b=x&b=y"
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    text = await sent(method="POST", text="Grüße \ud800")
    assert text.body == "Grüße ?".encode()
    assert text.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_null_and_a_lone_surrogate_are_json_bodies() -> None:
    assert (await sent(method="POST", json_body=None, has_json=True)).body == b"null"
    assert (await sent(method="POST", json_body="\ud800", has_json=True)).body == b'"\\ud800"'


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"bearer": "token"}, "authorization", "Bearer token"),
        (
            {"basic": {"username": "Zoë", "password": "p:w"}},
            "authorization",
            f"Basic {base64.b64encode('Zoë:p:w'.encode()).decode()}",
        ),
        ({"api_key": {"header": "X-Api-Key", "value": "k"}}, "x-api-key", "k"),
    ],
)
async def test_credentials_are_sent_in_the_header_that_auth_names(
    auth: dict[str, Any], header: str, value: str
) -> None:
    assert (await sent(auth=auth)).headers[header] == value


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "CONNECT"},
        {"method": "GET / HTTP/1.1\r\nX"},
        {"headers": {"Host": "internal"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"Proxy-Authorization": "x"}},
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"headers": {"X A": "1"}},
        {"headers": {"X-A": {"no": "scalar"}}},
        {"auth": {"digest": "x"}},
        {"auth": {"bearer": "a", "basic": {}}},
        {"auth": {"api_key": {"header": "Content-Length", "value": "1"}}},
        {"json_body": 1, "text": "two bodies"},
        {"json_body": float("nan"), "has_json": True},
        {"query": {"q": {"no": "scalar"}}},
    ],
    ids=str,
)
async def test_inputs_that_make_no_request_fail_at_once_and_send_nothing(fields: dict[str, Any]) -> None:
    async with raw_server(lambda request: answer()) as server:
        with pytest.raises(ApplicationError) as caught:
            await perform(server.url, **fields)
    assert (caught.value.type, caught.value.non_retryable) == ("invalid-http-request", True)
    assert server.requests == []


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": [1, 2.5, null]}', "application/json", {"a": [1, 2.5, None]}),
        (b"[1]", "application/vnd.api+json", [1]),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        (b'"\\ud800x"', "application/json", "\ufffdx"),
        (b'{"\\udfff": "\\ud83d\\ude00"}', "application/json", {"\ufffd": "😀"}),
        ('"é"'.encode("latin-1"), "application/json; charset=iso-8859-1", "é"),
        (b"", "application/json", None),
        (b"[1]", "text/plain", "[1]"),
        (b"[1]", "", "[1]"),
        ("é".encode("latin-1"), "text/plain; charset=latin-1", "é"),
        (b"\xff\xfe\xfa", "text/plain", "\ufffd\ufffd\ufffd"),
        (b"abc", "text/plain; charset=no-such-charset", "abc"),
        (b"abc", "text/plain; charset=zlib", "abc"),
        (b"+2AA-", "text/plain; charset=utf-7", "+2AA-"),
        (b"\xd8\x00", "text/plain; charset=utf-16-be", "\ufffd"),
        (b"abc", 'text/plain; charset="\xff\x01', "abc"),
    ],
)
async def test_a_body_is_json_where_its_type_says_so_and_else_text(
    body: bytes, content_type: str, expected: Any
) -> None:
    assert (await received(answer(body=body, Content_Type=content_type)))["body"] == expected


@pytest.mark.parametrize(
    "body",
    [b"{", b"NaN", b"[1e999]", b"\xff", b"[" * 200 + b"]" * 200, b"[" * 100_000, b"9" * 5000, b"<html>"],
    ids=lambda body: repr(body[:8]),
)
async def test_a_body_that_is_not_the_json_it_claims_is_a_bad_response(body: bytes) -> None:
    error = await failure(answer(body=body, Content_Type="application/json"))
    assert (error.type, error.non_retryable) == ("http-bad-response", True)
    assert "not valid JSON" in error.message


async def test_a_large_json_body_is_parsed_off_the_loop() -> None:
    numbers = list(range(100_000))
    reply = answer(body=json.dumps(numbers).encode(), Content_Type="application/json")
    assert (await received(reply))["body"] == numbers


async def test_an_answer_is_checked_against_response_schema() -> None:
    schema = {"type": "object", "required": ["id"]}
    reply = answer(body=b'{"id": 1}', Content_Type="application/json")
    assert (await received(reply, response_schema=schema))["body"] == {"id": 1}
    error = await failure(answer(body=b"{}", Content_Type="application/json"), response_schema=schema)
    assert error.type == "http-bad-response"
    assert "response_schema" in error.message
    assert told(error)["errors"]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (409, True),
        (418, False),
        (425, True),
        (429, True),
        (500, True),
        (503, True),
        (599, True),
        (301, False),
    ],
)
async def test_an_unexpected_status_is_an_error_of_its_own_type(status: int, retryable: bool) -> None:
    error = await failure(answer(status, b"why", Content_Type="text/plain", X_Request_Id="r1", X_Other="o"))
    assert error.type == f"http-{status}"
    assert error.non_retryable is not retryable
    assert told(error) == {
        "status": status,
        "headers": {"content-type": "text/plain", "x-request-id": "r1"},
        "body": "why",
    }


@pytest.mark.parametrize(
    ("expected", "status", "fine"),
    [
        (["2xx"], 204, True),
        ([404], 404, True),
        ([404], 200, False),
        (["4xx", 200], 410, True),
        ([302], 302, True),
        (["404"], 404, True),
    ],
)
async def test_expect_status_takes_codes_and_classes(expected: list[int | str], status: int, fine: bool) -> None:
    reply = answer(status, Location="/elsewhere")
    if fine:
        assert (await received(reply, expect_status=expected))["status"] == status
    else:
        assert (await failure(reply, expect_status=expected)).type == f"http-{status}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("999999999999", 3600),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 3600),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("soon", None),
        ("-5", None),
    ],
)
async def test_retry_after_is_the_next_delay(value: str, seconds: float | None) -> None:
    delay = (await failure(answer(503, Retry_After=value))).next_retry_delay
    assert (delay.total_seconds() if delay is not None else None) == seconds


async def test_an_error_repeats_no_credential_and_only_the_start_of_the_body() -> None:
    def echo(request: Received) -> bytes:
        leak = f"{request.headers['authorization']} {request.headers['x-api-key']} ".encode()
        return answer(403, leak + b"x" * 5000, WWW_Authenticate=request.headers["x-api-key"])

    async with raw_server(echo) as server:
        with pytest.raises(ApplicationError) as caught:
            await perform(
                f"{server.url}/hidden-path?token=hidden-query",
                auth={"bearer": "hidden-token"},
                headers={"X-Api-Key": "hidden-key"},
            )
    text = f"{caught.value} {caught.value.details} {caught.value.__cause__!r}"
    assert "hidden" not in text
    assert len(told(caught.value)["body"]) <= 2048


async def test_a_blocked_url_is_not_tried_again_and_says_the_way_out() -> None:
    with pytest.raises(ApplicationError) as caught:
        await perform("http://169.254.169.254/latest/meta-data")
    assert (caught.value.type, caught.value.non_retryable) == ("http-blocked", True)
    assert "169.254.169.254" in caught.value.message
    assert "HTTP_ALLOW_HOSTS" in caught.value.message


@pytest.mark.parametrize("url", ["not a url", "http://\ud800/", "http://x.example/\ud800", "http://[::1"])
async def test_a_url_that_cannot_be_read_is_blocked(url: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        await perform(url)
    assert caught.value.type == "http-blocked"


async def test_a_failure_that_is_told_whole_fits_what_temporal_keeps_of_an_attempt() -> None:
    """With its causes and their traces Temporal would show 'Failure exceeds size limit.' in its place."""
    error = await failure(lambda request: b"")
    encoded = Failure()
    await DataConverter.default.encode_failure(error, encoded)
    assert (error.type, error.__cause__) == ("http-connection", None)
    assert encoded.ByteSize() < 4_096


async def test_a_broken_connection_is_worth_another_try() -> None:
    error = await failure(b"")
    assert (error.type, error.non_retryable) == ("http-connection", False)


async def test_a_hanging_server_ends_as_a_timeout() -> None:
    client = GuardedHttp(AllowList.parse(["127.0.0.1"]))
    environment = activity_environment(0.5)
    server: RawServer
    async with raw_server(lambda request: None) as server:
        with pytest.raises(ApplicationError) as caught:
            await environment.run(
                HttpActivities(client, Secrets()).http_request, HttpRequestInput(call=CALL, url=server.url)
            )
    await client.aclose()
    assert (caught.value.type, caught.value.non_retryable) == ("timeout", False)
