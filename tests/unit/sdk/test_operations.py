"""The client knows every operation of the API, as the OpenAPI document describes it."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from orchestrator.sdk import AsyncOrchestratorClient, OrchestratorClient
from orchestrator.sdk.methods import Iteration, Operation
from scripts.generate_contract import contract

NAMES = {"watch_execution": "events"}
"""The methods that are not called as the operation, because they do more."""

FURTHER = {"get_execution_mermaid"}
"""The methods that are a second form of an operation; `format` chooses it."""

PREFIX = "/api/v1"
CONTRACT = contract()


class Described(NamedTuple):
    """One operation of the document."""

    name: str
    method: str
    path: str
    document: dict[str, Any]

    def parameters(self, place: str) -> set[str]:
        names = {item["name"] for item in self.document.get("parameters", ()) if item["in"] == place}
        return {name.lower() for name in names} if place == "header" else names


def described() -> Iterator[Described]:
    for path, item in CONTRACT["paths"].items():
        for method, operation in item.items():
            yield Described(operation["operationId"], method.upper(), path.removeprefix(PREFIX), operation)


OPERATIONS = list(described())
SAMPLES: dict[str, Any] = {"str": "a/b c", "int": 3, "float": 1.5, "bool": True}


def arguments(function: Any, *, all_of_them: bool) -> dict[str, Any]:
    """An argument for every parameter, or for those that must be given."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if all_of_them or parameter.default is inspect.Parameter.empty:
            kind = str(parameter.annotation).partition(" | ")[0]
            found[name] = SAMPLES.get(kind, {"sample": name} if "Sequence" not in kind else ["a"])
    return found


def sent_by(name: str, *, all_of_them: bool) -> httpx2.Request:
    """The request of a method of the blocking client."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(204)

    with OrchestratorClient("http://here", transport=httpx2.MockTransport(answer)) as client:
        method = getattr(client, NAMES.get(name, name))
        result = method(**arguments(method, all_of_them=all_of_them))
        if name in NAMES:
            assert list(result) == []
    (request,) = requests
    return request


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_has_a_method_that_sends_what_the_document_says(operation: Described) -> None:
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(operation.path))
    for all_of_them in (False, True):
        request = sent_by(operation.name, all_of_them=all_of_them)
        path = request.url.raw_path.decode().partition("?")[0].removeprefix(PREFIX)
        assert request.method == operation.method
        assert re.fullmatch(pattern, path), path
        assert set(request.url.params) <= operation.parameters("query")
        assert bool(request.content) <= ("requestBody" in operation.document)
    assert set(request.url.params) == operation.parameters("query") - {"format"}
    assert bool(request.content) == ("requestBody" in operation.document)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_keys_and_expected_versions_are_sent_where_the_document_has_them(operation: Described) -> None:
    bare, full = (sent_by(operation.name, all_of_them=each) for each in (False, True))
    headers = operation.parameters("header")
    assert ("idempotency-key" in headers) == ("idempotency-key" in bare.headers)
    assert ("if-match" in headers) == ("if-match" in full.headers)
    assert "if-match" not in bare.headers
    assert headers <= {"idempotency-key", "if-match", "if-none-match", "last-event-id"} | set(full.headers)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_field_of_a_body_is_a_parameter_of_the_method(operation: Described) -> None:
    schema = body_schema(operation.document)
    names = set(
        inspect.signature(
            getattr(OrchestratorClient("http://here"), NAMES.get(operation.name, operation.name))
        ).parameters
    )
    if "properties" in schema and not names & {"definition", "record", "schedule", "scenario"}:
        renamed = {"input": "input_data"}
        assert {renamed.get(field, field) for field in schema["properties"]} <= names


def body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of the body; {} without one."""
    found: dict[str, Any] = (
        operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    )
    for option in [found, *found.get("anyOf", ())]:
        if "$ref" in option:
            return dict(CONTRACT["components"]["schemas"][option["$ref"].rpartition("/")[2]])
    return found


def test_the_client_has_no_operation_that_the_api_lacks() -> None:
    known = {NAMES.get(operation.name, operation.name) for operation in OPERATIONS}
    ours = {
        name
        for name in dir(OrchestratorClient)
        if isinstance(inspect.getattr_static(OrchestratorClient, name), Operation)
    }
    assert ours - FURTHER <= known


def test_every_list_has_an_iterator() -> None:
    for operation in OPERATIONS:
        if "cursor" in operation.parameters("query"):
            name = operation.name.replace("list_", "iter_", 1)
            assert isinstance(inspect.getattr_static(OrchestratorClient, name), Iteration), name


def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    blocking, awaiting = OrchestratorClient("http://here"), AsyncOrchestratorClient("http://here")
    names = [name for name in dir(OrchestratorClient) if not name.startswith("_")]
    assert names == [name for name in dir(AsyncOrchestratorClient) if not name.startswith("_")]
    for name in names:
        if callable(getattr(blocking, name)):
            ours, theirs = (inspect.signature(getattr(client, name)) for client in (blocking, awaiting))
            assert list(ours.parameters) == list(theirs.parameters), name


@pytest.mark.parametrize("kind", [OrchestratorClient, AsyncOrchestratorClient])
def test_help_shows_what_a_caller_gives_and_gets(kind: type) -> None:
    shown = pydoc.render_doc(kind)
    # Bold letters are written twice, with a backspace between.
    told = re.sub(r"(.)\x08\1", r"\1", shown)
    assert "get_execution(self, execution_id: 'str') -> 'ExecutionDocument'" in told
    assert "\n |  iter_workflows(self, *, tag: " in told
    assert "-> 'Iterator[WorkflowSummary]'" in told
    for inside in ("Operation object", "Iteration object", "Method object", "Call[", "-> 'Stream["):
        assert inside not in told, inside


def test_methods_can_be_called_as_functions_of_the_class() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"execution_id": request.url.path.rpartition("/")[2]})

    with OrchestratorClient("http://far.example.com", transport=httpx2.MockTransport(answer)) as client:
        assert OrchestratorClient.get_execution(client, "ex-1")["execution_id"] == "ex-1"
