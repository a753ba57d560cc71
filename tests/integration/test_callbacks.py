"""Callbacks at the end of executions: signed, tried again, sent however the execution ends."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from activities.callbacks import CallbackActivities
from activities.control import ControlActivities
from orchestrator.client import connect, disconnect
from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.execution.messages_callbacks import CALLBACK_MEMO, delivery_id
from orchestrator.guarded_http import GuardedHttp
from orchestrator.secrets import EnvironmentSecrets, Secrets
from orchestrator.settings import Settings
from orchestrator.untold_ends import LOOK_BACK, UntoldEnds
from orchestrator.workflows.callback_delivery import CallbackDelivery
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.executions import worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs
from tests.support.webhook_receiver import Received, WebhookReceiver, webhook_receiver

KEY = b"a key of twenty-four byte"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CALL = {"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t", "retry": {"max_attempts": 1}}


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as found:
        yield found


@pytest.fixture
def signing(isolated_settings: Settings) -> Settings:
    fields = {"callback_signing_secret": SecretStr(SECRET), "http_allow_hosts": ("127.0.0.1",)}
    return isolated_settings.model_copy(update={**fields, "worker_graceful_shutdown_seconds": 0.5})


@pytest.fixture
async def api(signing: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(signing) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        body = {"name": "Called back", "steps": [CALL]}
        assert (await client.put(f"/workflows/{signing.redis_key_prefix}", json=body)).status_code == 201
        yield client


@asynccontextmanager
async def working(settings: Settings, *scripts: dict[str, Any]) -> AsyncIterator[Client]:
    client, http = await connect(settings), GuardedHttp.from_settings(settings)
    secrets = Secrets([("the test", EnvironmentSecrets({"SECRETS__OTHER": "plain text"}))])
    callbacks = CallbackActivities(client, http, secrets, settings).all()
    stubs = Stubs({"call": scripts}).all()
    async with leased_worker(client, settings, [*ControlActivities(client).all(), *callbacks, *stubs]):
        yield client
    await http.aclose()
    await disconnect(client)


async def started(api: httpx2.AsyncClient, settings: Settings, **callback: Any) -> str:
    body = {"input_data": {}, "callback": callback}
    answer = await api.post(f"/workflows/{settings.redis_key_prefix}/execute", json=body)
    assert answer.status_code == 202, answer.text
    execution_id: str = answer.json()["execution_id"]
    return execution_id


async def told(receiver: WebhookReceiver, count: int = 1) -> Received:
    """The receiver's latest request, once there are so many."""
    await eventually(lambda: len(receiver.received) >= count, 20)
    return receiver.received[-1]


def genuine(found: Received, key: bytes) -> bool:
    """As a receiver checks it, by the specification."""
    signed = f"{found.headers['webhook-id']}.{found.headers['webhook-timestamp']}.".encode() + found.body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return found.headers["webhook-signature"] == f"v1,{wanted}"


async def test_a_completed_execution_is_told_with_its_output_signed(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    async with working(signing, {"result": {"score": 9}}):
        execution_id = await started(api, signing, url=receiver.url)
        found = await told(receiver)
    message = found.message
    assert (message["type"], message["data"]["status"]) == ("execution.completed", "completed")
    assert message["data"]["execution_id"] == execution_id
    assert message["data"]["output"] == {"call": {"score": 9}}
    assert found.headers["content-type"] == "application/json"
    assert genuine(found, KEY)


async def test_a_failed_execution_is_told_by_the_secret_that_its_start_names(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    async with working(signing, {"error": {"type": "boom", "non_retryable": True}}):
        await started(api, signing, url=receiver.url, secret="OTHER")
        found = await told(receiver)
    assert (found.message["type"], found.message["data"]["error"]["type"]) == ("execution.failed", "boom")
    assert genuine(found, b"plain text")
    assert not genuine(found, KEY)


@pytest.mark.parametrize("way", ["cancel", "terminate"])
async def test_an_execution_that_is_stopped_is_told_too(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver, way: str
) -> None:
    async with working(signing, {"hang": True}) as client:
        execution_id = await started(api, signing, url=receiver.url)
        handle = client.get_workflow_handle(execution_id)
        await eventually(lambda: has_steps(api, execution_id))
        assert receiver.received == []
        await getattr(handle, way)()
        found = await told(receiver)
    status = {"cancel": "cancelled", "terminate": "terminated"}[way]
    assert (found.message["type"], found.message["data"]["status"]) == (f"execution.{status}", status)
    assert genuine(found, KEY)


async def has_steps(api: httpx2.AsyncClient, execution_id: str) -> bool:
    found = (await api.get(f"/executions/{execution_id}")).json()
    return any(step["state"] == "running" for step in found["steps"])


async def test_a_receiver_that_fails_is_told_again_under_the_same_id(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    receiver.answers.append(500)
    async with working(signing, {"result": 1}):
        await started(api, signing, url=receiver.url)
        second = await told(receiver, 2)
    first = receiver.received[0]
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert genuine(first, KEY)
    assert genuine(second, KEY)


async def test_what_goes_on_after_an_end_is_told_of_again_under_another_id(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    failure = {"error": {"type": "boom", "retryable": False}}
    async with working(signing, failure, {"result": 1}):
        execution_id = await started(api, signing, url=receiver.url)
        failed = await told(receiver)
        assert (await api.post(f"/executions/{execution_id}/retry")).status_code == 202
        retried = await told(receiver, 2)
        answer = await api.post(f"/executions/{execution_id}/rerun", json={"from_step": "call"})
        rerun = await told(receiver, 3)
    types = [found.message["type"] for found in (failed, retried, rerun)]
    assert types == ["execution.failed", "execution.completed", "execution.completed"]
    ids = [found.message["data"]["execution_id"] for found in (failed, retried, rerun)]
    assert ids == [execution_id, execution_id, answer.json()["execution_id"]]
    assert len({found.headers["webhook-id"] for found in (failed, retried, rerun)}) == 3


async def test_a_delivery_that_is_cancelled_by_hand_still_waits_for_the_end(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    async with working(signing, {"hang": True}) as client:
        execution_id = await started(api, signing, url=receiver.url)
        await eventually(lambda: has_steps(api, execution_id))
        run_id = (await api.get(f"/executions/{execution_id}")).json()["run_id"]
        delivery = client.get_workflow_handle(f"{execution_id}.callback.{run_id[-12:]}")
        await delivery.cancel()

        async def looked() -> bool:
            return any(
                event.HasField("timer_started_event_attributes") for event in (await delivery.fetch_history()).events
            )

        await eventually(looked)
        assert receiver.received == []
        await delivery.terminate()
        await client.get_workflow_handle(execution_id).terminate()


async def test_an_execution_that_continues_as_new_is_told_of_once(
    temporal_client: Client, signing: Settings, receiver: WebhookReceiver
) -> None:
    http = GuardedHttp.from_settings(signing)
    body = {"step_id": "tick", "step_type": "wait", "seconds": 0.01}
    loop = {"step_id": "loop", "step_type": "loop", "max_iterations": 20, "while": "loop.iteration < 12"}
    activities = CallbackActivities(temporal_client, http, Secrets(), signing).all()
    async with worker_with(temporal_client, signing, activities) as runner:
        handle = await runner.start(
            {"steps": [{**loop, "steps": [body]}]}, callback={"url": receiver.url}, history_events=20
        )
        await handle.result()
        assert (await handle.describe()).run_id != handle.result_run_id
        found = await told(receiver)
        assert found.message["type"] == "execution.completed"
        assert (await (await handle.describe()).memo())[CALLBACK_MEMO]["url"] == receiver.url
        mine = f"WorkflowId STARTS_WITH '{handle.id}'"
        query = f"WorkflowType = 'CallbackDelivery' AND ExecutionStatus = 'Running' AND {mine}"

        async def none_left() -> bool:
            return [item.id async for item in temporal_client.list_workflows(query)] == []

        await eventually(none_left)
    await http.aclose()
    assert len(receiver.received) == 1


async def look_for(client: Client, settings: Settings, count: int) -> UntoldEnds:
    """Look for ends that nobody tells of until so many were found; visibility is a moment behind."""
    untold, since = UntoldEnds(client, settings.temporal_task_queue), datetime.now(UTC) - timedelta(minutes=1)
    found = 0

    async def all_found() -> bool:
        nonlocal found
        found += await untold.look(since)
        return found >= count

    await eventually(all_found, 15)
    assert found == count
    return untold


async def test_an_execution_that_is_terminated_before_a_worker_took_it_is_told_too(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver, temporal_client: Client
) -> None:
    by_api, by_hand, quiet = [await started(api, signing, url=receiver.url) for _ in range(3)]
    assert (await api.post(f"/executions/{by_api}/terminate", json={"reason": "r"})).status_code == 202
    await temporal_client.get_workflow_handle(by_hand).terminate()
    await look_for(temporal_client, signing, 2)
    # Another worker finds the same ones, and starts nothing twice.
    assert await UntoldEnds(temporal_client, signing.temporal_task_queue).look(datetime.now(UTC) - LOOK_BACK) == 0
    async with working(signing, {"result": 1}):
        await told(receiver, 3)
    kinds = {found.message["data"]["execution_id"]: found.message["type"] for found in receiver.received}
    assert kinds == {by_api: "execution.terminated", by_hand: "execution.terminated", quiet: "execution.completed"}
    assert all(genuine(found, KEY) for found in receiver.received)
    assert len(receiver.received) == 3
    replayer = Replayer(
        workflows=[CallbackDelivery],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=temporal_client.data_converter,
    )
    for execution_id in kinds:
        run_id = (await api.get(f"/executions/{execution_id}")).json()["run_id"]
        delivery = temporal_client.get_workflow_handle(delivery_id(execution_id, run_id))
        await replayer.replay_workflow(await delivery.fetch_history())


async def test_what_a_stranger_calls_a_callback_hides_no_other(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver, temporal_client: Client
) -> None:
    odd, queue = f"odd-{signing.redis_key_prefix}", signing.temporal_task_queue
    strange = await temporal_client.start_workflow(
        WORKFLOW_TYPE, "x", id=odd, task_queue=queue, memo={CALLBACK_MEMO: ["no target"]}
    )
    known = await started(api, signing, url=receiver.url)
    for handle in (strange, temporal_client.get_workflow_handle(known)):
        await handle.terminate()
    await look_for(temporal_client, signing, 1)


async def test_a_worker_looks_for_ends_that_nobody_tells_of(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.untold_ends.LOOK_EVERY_SECONDS", 0.5)
    execution_id = await started(api, signing, url=receiver.url)
    assert (await api.post(f"/executions/{execution_id}/terminate")).status_code == 202
    async with working(signing) as client, UntoldEnds(client, signing.temporal_task_queue).watched():
        found = await told(receiver)
    assert (found.message["type"], found.message["data"]["execution_id"]) == ("execution.terminated", execution_id)


async def test_what_had_begun_is_told_of_by_its_own_delivery_alone(
    api: httpx2.AsyncClient, signing: Settings, receiver: WebhookReceiver
) -> None:
    async with working(signing, {"hang": True}) as client:
        execution_id = await started(api, signing, url=receiver.url)
        await eventually(lambda: has_steps(api, execution_id))
        await client.get_workflow_handle(execution_id).terminate()
        await told(receiver)
        query = f"WorkflowId = '{execution_id}' AND ExecutionStatus = 'Terminated'"

        async def visible() -> bool:
            return [item.id async for item in client.list_workflows(query)] == [execution_id]

        await eventually(visible, 15)
        untold = UntoldEnds(client, signing.temporal_task_queue)
        assert await untold.look(datetime.now(UTC) - timedelta(minutes=5)) == 0
    assert len(receiver.received) == 1


async def test_a_callback_that_cannot_be_sent_is_refused_at_the_start(
    api: httpx2.AsyncClient, signing: Settings, isolated_settings: Settings
) -> None:
    path = f"/workflows/{signing.redis_key_prefix}/execute"
    no_web = ("ftp://example.com/x", "/relative", "http://")
    guarded = ("http://169.254.169.254/", "http://10.0.0.1/", "https://user:word@example.com/", "http://127.1/")
    for url in (*no_web, *guarded):
        problem = problem_in(await api.post(path, json={"callback": {"url": url}}), 422, "invalid-request")
        assert problem["errors"][0]["pointer"] == "/callback/url"
    async with running_api(isolated_settings) as unsigned:
        answer = await unsigned.post(path, json={"callback": {"url": "https://example.com/"}})
        assert problem_in(answer, 422, "invalid-request")["errors"][0]["pointer"] == "/callback"
