"""Secrets stand in the credentials of a request and nowhere else, and never inside an expression."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.definition import validate_definition
from orchestrator.definition.models import STEP_TYPES
from tests.unit.definition.documents import document


def call(**fields: Any) -> dict[str, Any]:
    return {"step_id": "call", "step_type": "api_call", "url": "https://api.example.com/", **fields}


SOUND: list[dict[str, Any]] = [
    {"headers": {"X-Key": "{{ secrets.KEY }}", "X-Two": "{{ secrets.A }}:{{ secrets.B }} {{ input.x }}"}},
    {"query": {"key": "{{ secrets.KEY }}", "many": ["{{ secrets._a1 }}", "{{ secrets['KEY'] }}"]}},
    {"auth": {"bearer": "{{ secrets.KEY }}"}},
    {"auth": {"basic": {"username": "{{ input.user }}", "password": "{{ secrets.PASSWORD }}"}}},
    {"auth": {"api_key": {"header": "X-Key", "value": "{{ secrets.KEY }}"}}},
    {"headers": {"X-Plain": {"$literal": "{{ secrets.KEY }}"}}},
]


@pytest.mark.parametrize("fields", SOUND, ids=str)
def test_a_secret_stands_in_what_authenticates_a_request(fields: dict[str, Any]) -> None:
    assert validate_definition(document(call(**fields))).errors == []


@pytest.mark.parametrize("fields", SOUND, ids=str)
def test_a_secret_stands_there_in_compensations_handlers_and_blocks_too(fields: dict[str, Any]) -> None:
    inner = {**call(**fields), "step_id": "inner"}
    for outer in (
        call(compensate=inner),
        call(on_error=[{"steps": [inner]}]),
        {"step_id": "each", "step_type": "foreach", "items": [1], "steps": [inner]},
    ):
        assert validate_definition(document(outer)).errors == []
    assert validate_definition(document(call(), on_failure=[inner])).errors == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": "https://api.example.com/{{ secrets.KEY }}"}, "/steps/0/url"),
        ({"json": {"key": "{{ secrets.KEY }}"}}, "/steps/0/json/key"),
        ({"form": {"key": "{{ secrets.KEY }}"}}, "/steps/0/form/key"),
        ({"text": "{{ secrets.KEY }}"}, "/steps/0/text"),
        ({"output": "{{ secrets.KEY }}"}, "/steps/0/output"),
        ({"when": "secrets.KEY == 'x'"}, "/steps/0/when"),
        ({"on_error": [{"output": "{{ secrets.KEY }}"}]}, "/steps/0/on_error/0/output"),
    ],
)
def test_elsewhere_a_secret_is_refused_with_the_fields_where_it_may_stand(fields: dict[str, Any], pointer: str) -> None:
    (error,) = validate_definition(document(call(**fields))).errors
    assert (error.code, error.pointer) == ("E_NAME", pointer)
    assert "auth, headers, query" in (error.hint or "") or "{{ secrets.NAME }} alone" in (error.hint or "")


@pytest.mark.parametrize(
    "source", ["base64_encode(secrets.KEY)", "secrets.KEY ?? ''", "secrets", "secrets[input.x]", "[secrets.KEY]"]
)
def test_no_function_and_no_operator_takes_a_secret(source: str) -> None:
    (error,) = validate_definition(document(call(headers={"X-Key": f"{{{{ {source} }}}}"}))).errors
    assert (error.code, error.pointer) == ("E_NAME", "/steps/0/headers/X-Key")
    assert "Bearer {{ secrets.NAME }}" in (error.hint or "")


@pytest.mark.parametrize("name", ["my-key", "1a", "ä", "a/b", "..", "", "a" * 65])
def test_a_name_that_no_secret_can_have_is_refused(name: str) -> None:
    (error,) = validate_definition(document(call(auth={"bearer": f"{{{{ secrets['{name}'] }}}}"}))).errors
    assert (error.code, error.pointer) == ("E_NAME", "/steps/0/auth/bearer")
    assert "no name of a secret" in error.message


@pytest.mark.parametrize("step_type", sorted(STEP_TYPES))
def test_fields_that_take_secrets_are_templates(step_type: str) -> None:
    model = STEP_TYPES[step_type]
    assert set(model.secret_templates) <= set(model.templates)
    assert bool(model.secret_templates) == (step_type == "api_call")
