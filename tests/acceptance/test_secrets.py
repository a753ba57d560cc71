"""A secret of the worker's environment reaches the far end, and no answer of the API and no log."""

from __future__ import annotations

import pytest

from tests.support.echo_endpoint import echo_endpoint, forms_of
from tests.support.rest import Rest
from tests.support.service_processes import Services


@pytest.mark.parametrize(("path", "status"), [("/echo", "completed"), ("/refuse", "failed")])
def test_a_secret_reaches_the_far_end_and_nobody_else(services: Services, rest: Rest, path: str, status: str) -> None:
    secret = services.environment["SECRETS__ACCEPTANCE"]
    with echo_endpoint() as echo:
        step = {
            "step_id": "call",
            "step_type": "api_call",
            "url": f"{echo.url}{path}",
            "headers": {"X-Secret": "{{ secrets.ACCEPTANCE }}"},
            "auth": {"bearer": "{{ secrets.ACCEPTANCE }}"},
        }
        execution_id = rest.start({"name": f"Secrets {status}", "steps": [step]})
        assert rest.end_of(execution_id)["status"] == status
        assert echo.headers[0]["x-secret"] == secret
        assert echo.headers[0]["authorization"] == f"Bearer {secret}"
    answers = [services.http.get(f"/executions/{execution_id}").text, services.http.get("/executions/").text]
    assert "***" in answers[0]
    logs = [(services.folder / f"{name}.log").read_text() for name in ("worker", "api")]
    assert execution_id in logs[0] or status == "completed"
    for shown in (*answers, *logs):
        assert [name for name, form in forms_of(secret).items() if form in shown] == []


def test_a_secret_that_the_worker_lacks_is_named_with_the_way_to_set_it(rest: Rest) -> None:
    step = {
        "step_id": "call",
        "step_type": "api_call",
        "url": "https://api.example.com/",
        "auth": {"bearer": "{{ secrets.NOBODY_SET }}"},
    }
    ended = rest.end_of(rest.start({"name": "Secret that is missing", "steps": [step]}))
    assert ended["error"]["type"] == "missing-secret"
    assert "NOBODY_SET" in ended["error"]["message"]
