"""A far end that repeats every secret in every form: none is in the history, in an answer, in an error or in a log."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog
from temporalio.client import Client, WorkflowHandle

from activities.http import HttpActivities
from orchestrator.execution.messages import ExecutionView, HttpRequestInput, HttpRequestResult
from orchestrator.guarded_http import AllowList, GuardedHttp
from orchestrator.secrets import EnvironmentSecrets, Secrets
from orchestrator.settings import Settings
from orchestrator.telemetry import configure_telemetry
from tests.support.activity_environment import activity_environment
from tests.support.echo_endpoint import EchoEndpoint, echo_endpoint, forms_of
from tests.support.executions import outcome, worker_with

VALUES = {"TOKEN": "t0ken/with+more=", "PASSWORD": 'p&ss "w"/é', "PIN": "49281706"}
CODED = base64.b64encode(f"ada:{VALUES['PASSWORD']}".encode()).decode()


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoEndpoint]:
    with echo_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines as the worker's handler writes them."""
    lines: list[str] = []
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_telemetry(Settings(_env_file=None, log_format="json"), process="worker")
    formatter = root.handlers[0].formatter

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    keep = Keep()
    keep.setFormatter(formatter)
    root.handlers[:] = [keep]
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


class Sources:
    """An `HttpActivities` over an environment that a test may change."""

    def __init__(self) -> None:
        self.environment = {f"SECRETS__{name}": value for name, value in VALUES.items()}
        self.client = GuardedHttp(AllowList.parse(["127.0.0.1"]))
        self.http = HttpActivities(self.client, Secrets([("the environment", EnvironmentSecrets(self.environment))]))


def leaks(text: str) -> list[str]:
    """Which secrets a text tells, also in what Temporal's JSON holds in base64."""
    whole = text + "".join(
        base64.b64decode(data).decode("utf-8", "replace") for data in re.findall(r'"data": ?"([^"]*)"', text)
    )
    return [
        f"{name}, {form}"
        for name, value in {**VALUES, "CODED": CODED}.items()
        for form, shown in forms_of(value).items()
        if shown in whole
    ]


async def told(handle: WorkflowHandle[object, ExecutionView]) -> tuple[ExecutionView, str]:
    """How an execution ended, and all that Temporal keeps of it."""
    view = await outcome(handle)
    described = await handle.describe()
    history = (await handle.fetch_history()).to_json()
    return view, f"{history} {described.raw_description} {view.model_dump_json()}"


def call(url: str, **fields: Any) -> dict[str, Any]:
    return {
        "step_id": "call",
        "step_type": "api_call",
        "url": url,
        "headers": {"X-Secret": "{{ secrets.TOKEN }}"},
        "query": {"pin": "{{ secrets.PIN }}", "both": ["a {{ secrets.TOKEN }} {{ secrets.PASSWORD }}"]},
        "auth": {"basic": {"username": "ada", "password": "{{ secrets.PASSWORD }}"}},
        "retry": {"max_attempts": 2, "initial_interval_seconds": 0.1},
        **fields,
    }


async def run(
    client: Client, settings: Settings, *steps: Mapping[str, Any], sources: Sources | None = None
) -> tuple[ExecutionView, str]:
    """Run steps with the real activity; gives the end and all that is kept."""
    sources = sources or Sources()
    try:
        async with worker_with(client, settings, [sources.http.http_request]) as runner:
            return await told(await runner.start({"steps": list(steps)}))
    finally:
        await sources.client.aclose()


async def test_the_far_end_gets_the_secrets_and_nobody_else(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint, logged: list[str]
) -> None:
    view, kept = await run(temporal_client, settings, call(f"{echo.url}/echo"))
    assert view.status == "completed", view.error
    sent = echo.headers[-1]
    assert sent["x-secret"] == VALUES["TOKEN"]
    assert sent["authorization"] == f"Basic {CODED}"
    assert echo.queries[-1]["pin"] == VALUES["PIN"]
    assert echo.queries[-1]["both"] == f"a {VALUES['TOKEN']} {VALUES['PASSWORD']}"
    assert leaks(kept) == []
    assert leaks("".join(logged)) == []
    body = view.output["call"]["body"]
    assert body["headers"]["x-secret"] == "***"
    assert body["headers"]["authorization"] == "***"
    assert body["query"]["both"] == "a *** ***"
    assert body["numbers"] == ["***"]
    assert view.output["call"]["headers"]["x-told"] == "***"


@pytest.mark.parametrize("path", ["/refuse", "/cut", "/echo"])
async def test_an_error_tells_no_secret(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint, logged: list[str], path: str
) -> None:
    # The third is an answer that breaks its schema, and so is quoted.
    schema = {"type": "object", "properties": {"path": {"enum": ["x"]}, "named": {"maxProperties": 0}}}
    view, kept = await run(temporal_client, settings, call(f"{echo.url}{path}", response_schema=schema))
    assert view.status == "failed"
    assert view.error is not None
    assert view.error.type == ("http-bad-response" if path == "/echo" else "http-403")
    assert leaks(kept) == []
    assert VALUES["TOKEN"][:5] not in kept
    assert logged
    assert leaks("".join(logged)) == []


async def test_a_missing_secret_fails_at_once_and_is_named(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint
) -> None:
    sources, before = Sources(), len(echo.headers)
    del sources.environment["SECRETS__PIN"]
    view, _ = await run(temporal_client, settings, call(f"{echo.url}/echo"), sources=sources)
    assert view.error is not None
    assert view.error.type == "missing-secret"
    assert view.error.message == "step 'call': the secret 'PIN' is not configured"
    assert "SECRETS__PIN" in json.dumps(view.error.model_dump())
    assert (view.steps[0].attempts, len(echo.headers)) == (1, before)


async def test_a_secret_that_cannot_be_sent_is_not_quoted(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint, logged: list[str]
) -> None:
    sources = Sources()
    sources.environment["SECRETS__TOKEN"] = f"{VALUES['TOKEN']}\nsecond line"
    view, kept = await run(temporal_client, settings, call(f"{echo.url}/echo"), sources=sources)
    assert view.error is not None
    assert view.error.type == "invalid-http-request"
    assert leaks(kept + "".join(logged)) == []


async def test_a_changed_secret_counts_from_the_next_request_on(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint
) -> None:
    sources = Sources()

    class Rotating(EnvironmentSecrets):
        async def get(self, name: str) -> str | None:
            found = await super().get(name)
            if name == "TOKEN":
                sources.environment["SECRETS__TOKEN"] = "rotated-token"
            return found

    sources.http = HttpActivities(sources.client, Secrets([("rotating", Rotating(sources.environment))]))
    second = call(f"{echo.url}/echo", step_id="again", depends_on=["call"])
    view, kept = await run(temporal_client, settings, call(f"{echo.url}/echo"), second, sources=sources)
    assert view.status == "completed", view.error
    assert [headers["x-secret"] for headers in echo.headers[-2:]] == [VALUES["TOKEN"], "rotated-token"]
    assert leaks(kept) == []
    assert "rotated-token" not in kept


async def test_an_unforeseen_failure_is_logged_and_kept_without_the_secret(
    temporal_client: Client, settings: Settings, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(self: GuardedHttp, method: str, url: object, **fields: Any) -> None:
        try:
            raise ValueError(f"{url} {fields['headers']}")
        except ValueError as error:
            raise RuntimeError(f"cannot send {fields['headers']}") from error

    monkeypatch.setattr(GuardedHttp, "send", explode)
    view, kept = await run(temporal_client, settings, call("https://api.example.com/"))
    assert view.error is not None
    assert view.error.type == "internal-error"
    assert "***" in view.error.message
    lines = "".join(logged)
    assert "cannot send" in lines
    assert leaks(kept + lines) == []


async def test_other_steps_are_not_scrubbed_of_what_they_never_named(
    temporal_client: Client, settings: Settings, echo: EchoEndpoint
) -> None:
    plain = call(
        f"{echo.url}/echo",
        step_id="plain",
        depends_on=["call"],
        headers={"X-Secret": VALUES["PIN"]},
        query={},
        auth=None,
    )
    del plain["auth"]
    view, _ = await run(temporal_client, settings, call(f"{echo.url}/echo"), plain)
    assert view.output["plain"]["body"]["numbers"] == [int(VALUES["PIN"])]


async def test_attempts_at_the_same_time_keep_their_secrets_apart(echo: EchoEndpoint) -> None:

    from orchestrator.execution.messages import StepCall
    from orchestrator.execution.messages_secrets import SecretName, SecretSlot

    sources = Sources()

    async def one(name: str) -> Any:
        step = StepCall(execution_id="e", workflow_id="w", path=name, step_id=name, idempotency_key=name)
        slots = [SecretSlot(pointer="/headers/X-Secret", parts=[SecretName(secret=name)])]
        request = HttpRequestInput(
            call=step, url=f"{echo.url}/echo", headers={"X-Secret": None}, query={"all": VALUES["TOKEN"]}
        ).model_copy(update={"secret_slots": slots})
        result = await activity_environment().run(sources.http.http_request, request)
        assert isinstance(result, HttpRequestResult)
        assert request.headers == {"X-Secret": None}
        return result.output["body"]["query"]["all"]

    try:
        found = await asyncio.gather(*(one(name) for name in ["TOKEN", "PIN", "TOKEN", "PIN"]))
    finally:
        await sources.client.aclose()
    assert found == ["***", VALUES["TOKEN"], "***", VALUES["TOKEN"]]
