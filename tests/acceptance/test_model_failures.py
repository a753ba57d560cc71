"""A model server that fails: the retry policy, counted at the server, then an error that names step and cause."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes.model_behaviours import (
    Behaviour,
    declared_error,
    empty_choices,
    garbage,
    hang,
    huge,
    lone_surrogates,
    ok,
    raw,
    redirect,
    reset,
    reset_after_headers,
    slow_drip,
    status,
    text,
    truncated_json,
)
from tests.fakes.model_server import FakeModelServer
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.rest import LEAD, Rest, agent_step, attempts, lead_workflow, states
from tests.support.service_processes import Services

RETRY = {"max_attempts": 3, "initial_interval_seconds": 0.05, "backoff_coefficient": 1}
QUICK = {"timeouts": {"start_to_close_seconds": 1}}


@dataclass(frozen=True)
class Trouble:
    """What the server does with every call, and what shall come of it."""

    behaviour: Behaviour
    error_type: str
    says: str
    calls: int = 3
    step: dict[str, Any] = field(default_factory=dict)


TROUBLES = {
    "500": Trouble(status(500, "out of memory"), "model-unavailable", "out of memory"),
    "503": Trouble(status(503, "overloaded"), "model-unavailable", "503"),
    "429": Trouble(status(429, "slow down"), "model-rate-limited", "slow down"),
    "400": Trouble(status(400, "bad parameter"), "model-rejected", "bad parameter", calls=1),
    "401": Trouble(status(401, "bad key"), "model-rejected", "OPENAI_API_KEY", calls=1),
    "404": Trouble(status(404, "no such model"), "model-rejected", "no such model", calls=1),
    "garbage": Trouble(garbage(), "model-bad-response", "openai/"),
    "truncated": Trouble(truncated_json(), "model-bad-response", "openai/"),
    "408": Trouble(status(408, "too slow"), "model-unavailable", "too slow"),
    "409": Trouble(status(409, "busy"), "model-unavailable", "busy"),
    "502-html": Trouble(raw(b"<html>nginx</html>", "text/html", 502), "model-unavailable", "502"),
    "413": Trouble(status(413, "too long"), "model-rejected", "too long", calls=1),
    "422": Trouble(status(422, "bad schema"), "model-rejected", "bad schema", calls=1),
    "redirect": Trouble(redirect("http://127.0.0.1:1/v1"), "model-rejected", "307", calls=1),
    "declared-error": Trouble(declared_error(message="upstream"), "model-unavailable", "upstream"),
    "null-content": Trouble(text(None), "model-bad-response", "no text"),
    "length": Trouble(text("cut", finish_reason="length"), "model-bad-response", "cut off"),
    "filter": Trouble(text("no", finish_reason="content_filter"), "model-rejected", "content filter", calls=1),
    "reset-after-headers": Trouble(reset_after_headers(), "model-unavailable", "connection"),
    "drip": Trouble(slow_drip(), "timeout", "start_to_close_seconds", step=QUICK),
    "huge": Trouble(huge(), "model-bad-response", "10,485,760 bytes", calls=1),
    "lone-surrogates": Trouble(lone_surrogates(), "invalid-output", "output_schema", calls=2),
    "empty": Trouble(raw(b""), "model-bad-response", "openai/"),
    "no-choices": Trouble(empty_choices(), "model-bad-response", "openai/"),
    "reset": Trouble(reset(), "model-unavailable", "connection"),
    "not-json": Trouble(text("I would rather not say."), "invalid-output", "not JSON", calls=2),
    "wrong-json": Trouble(ok({"qualified": "perhaps"}), "invalid-output", "qualified", calls=2),
    "hang": Trouble(hang(), "timeout", "start_to_close_seconds", step=QUICK),
}


@dataclass(frozen=True)
class Ended:
    """The execution's last document, and how often the server was called for it."""

    document: dict[str, Any]
    calls: int


def one_call(mark: str, **fields: Any) -> dict[str, Any]:
    """A workflow of one model call whose prompt holds the mark. Its model is its own: circuits are per model."""
    model, parameters = f"openai/{uuid.uuid4().hex}", {"priority": f"mark-{mark}."}
    step = agent_step("qualify_lead", "sales", model=model, parameters=parameters, retry=RETRY, **fields)
    return {"name": lead_workflow()["name"], "steps": [step]}


# The fixture that meets all troubles belongs to whichever test comes first.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ended(deployment: Services, counting_model: FakeModelServer) -> dict[str, Ended]:
    """How every trouble ended; they are met side by side."""
    try:
        return _met(deployment, counting_model)
    except AssertionError:
        # A machine that stalls once would fail all tests of the module.
        return _met(deployment, counting_model)


def _met(deployment: Services, counting_model: FakeModelServer) -> dict[str, Ended]:
    deployment.make_whole()
    counting_model.forget()
    rest = Rest(deployment.http)
    for name, trouble in TROUBLES.items():
        counting_model.always(trouble.behaviour, task=f"mark-{name}.")
    ids = {name: rest.start(one_call(name, **trouble.step)) for name, trouble in TROUBLES.items()}
    documents = {name: rest.end_of(execution_id) for name, execution_id in ids.items()}
    return {name: Ended(found, len(counting_model.calls(f"mark-{name}."))) for name, found in documents.items()}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_failing_model_uses_up_the_steps_attempts_and_the_error_names_step_and_cause(
    ended: dict[str, Ended], name: str
) -> None:
    trouble, found = TROUBLES[name], ended[name].document
    assert found["status"] == "failed"
    assert states(found) == {"qualify_lead": "failed"}
    error = found["error"]
    assert (error["type"], error["step"]) == (trouble.error_type, "qualify_lead")
    assert "'qualify_lead'" in error["message"]
    assert trouble.says in error["message"] + str(error["details"])
    assert ended[name].calls == trouble.calls
    repaired = trouble.error_type == "invalid-output"
    # A refused answer gets one repair turn: two calls, and no attempt that failed.
    assert attempts(found) == {"qualify_lead": 1 if repaired else trouble.calls}
    assert found["output"] is None


def test_a_model_that_recovers_in_time_is_no_failure(rest: Rest, model: FakeModelServer) -> None:
    model.then(status(500), garbage())
    found = rest.end_of(rest.start(one_call("recovers")))
    assert found["status"] == "completed"
    assert attempts(found) == {"qualify_lead": 3}
    assert len(model.calls()) == 3


def test_a_retry_after_is_waited_for(rest: Rest, model: FakeModelServer) -> None:
    model.then(status(429, headers={"Retry-After": "2"}))
    found = rest.end_of(rest.start(one_call("recovers")))
    assert found["status"] == "completed"
    first, second = (call.at for call in model.calls())
    assert 2 <= second - first < 8


def test_a_hanging_model_holds_its_attempt_no_longer_than_its_timeout(rest: Rest, model: FakeModelServer) -> None:
    model.then(hang())
    began = awake_seconds()
    found = rest.end_of(rest.start(one_call("recovers", **QUICK)))
    assert found["status"] == "completed"
    assert within(awake_seconds() - began, 8)
    assert attempts(found) == {"qualify_lead": 2}


def test_a_model_server_that_is_down_fails_the_step_after_its_attempts(rest: Rest) -> None:
    down = {"agent_type": f"absent-{uuid.uuid4().hex[:8]}", "model": "absent/any"}
    rest.expect(201, "POST", "/agents/", json=down)
    step = agent_step("qualify_lead", down["agent_type"], retry=RETRY)
    found = rest.end_of(rest.start({"name": lead_workflow()["name"], "steps": [step]}))
    assert found["status"] == "failed"
    assert (found["error"]["type"], found["error"]["step"]) == ("model-unavailable", "qualify_lead")
    assert attempts(found) == {"qualify_lead": 3}
    assert "PROVIDERS__ABSENT__BASE_URL" in str(found["error"]["details"])


def test_a_failure_before_the_second_step_leaves_it_cancelled_and_uncalled(rest: Rest, model: FakeModelServer) -> None:
    model.always(status(400, "no"), task="qualify_lead")
    found = rest.end_of(rest.start(lead_workflow(), LEAD))
    assert states(found) == {"qualify_lead": "failed", "enrich_lead": "cancelled"}
    assert model.calls("enrich_lead") == []
    assert found["input"] == LEAD
