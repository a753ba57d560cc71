"""The status table covers the error tree, and problems have the shape of RFC 9457."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.requests import Request

from api.problems import MEDIA_TYPE, STATUS, problem_of, status_of
from orchestrator.definition.issues import Issue
from orchestrator.execution import errors
from orchestrator.execution.errors import OrchestratorError


def tree(kind: type[OrchestratorError]) -> Iterator[type[OrchestratorError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith(errors.__name__):
            yield child
            yield from tree(child)


LEAVES = [kind for kind in tree(OrchestratorError) if not kind.__subclasses__()]


def request() -> Request:
    scope = {"type": "http", "method": "GET", "path": "/api/v1/x", "query_string": b"", "headers": [], "scheme": "http"}
    return Request({**scope, "server": ("here", 80)})


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_leaf_of_the_error_tree_has_a_status(leaf: type[OrchestratorError]) -> None:
    assert any(kind in STATUS for kind in leaf.__mro__), f"give {leaf.__name__} a status in api/problems.py"
    assert 400 <= status_of(leaf("x")) < 600


def test_the_table_names_nothing_outside_the_tree() -> None:
    assert set(STATUS) <= {*tree(OrchestratorError)}


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_unavailability_says_when_to_come_back(leaf: type[OrchestratorError]) -> None:
    answer = problem_of(request(), leaf("gone", retry_after_seconds=3.2))
    assert (answer.headers.get("retry-after") == "4") == (answer.status_code in (429, 503))
    assert "retry-after" in problem_of(request(), leaf("gone")).headers or answer.status_code != 503


def test_a_class_that_the_table_does_not_know_takes_its_parents_status() -> None:
    class NewKindOfNotFound(errors.WorkflowNotFound):
        code = "new-kind"

    class NewKindOfUnavailable(errors.Unavailable):
        code = "new-part"

    class Surprise(OrchestratorError):
        code = "surprise"

    assert status_of(NewKindOfNotFound("x")) == 404
    assert status_of(NewKindOfUnavailable("x")) == 503
    assert status_of(Surprise("x")) == 500


def test_a_problem_has_the_members_of_the_standard_ours_and_the_details() -> None:
    issues = [
        Issue("wrong-type", "'x' is a number", "/x", "send a text"),
        Issue("missing-field", "'y' is required", "/y"),
    ]
    error = errors.InvalidInput(
        "two things are wrong", issues=issues, hint="read the schema", details={"workflow_id": "w"}
    )
    answer = problem_of(request(), error)
    assert answer.media_type == MEDIA_TYPE
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:orchestrator:problem:invalid-input",
        "title": "Invalid input",
        "status": 422,
        "detail": "two things are wrong",
        "instance": "/api/v1/x",
        "code": "invalid-input",
        "hint": "read the schema",
        "workflow_id": "w",
        "errors": [
            {"code": "wrong-type", "message": "'x' is a number", "pointer": "/x", "hint": "send a text"},
            {"code": "missing-field", "message": "'y' is required", "pointer": "/y"},
        ],
    }


def test_details_never_replace_the_standard_members() -> None:
    error = errors.WrongState("no", details={"status": "paused", "detail": "x", "code": "y"})
    content = json.loads(bytes(problem_of(request(), error).body))
    assert (content["status"], content["detail"], content["code"]) == (409, "no", "wrong-state")
