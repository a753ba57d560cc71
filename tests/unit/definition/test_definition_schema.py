"""The published JSON Schema takes every valid definition and refuses every faulty shape, with one fault to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from orchestrator.definition import validate_definition, workflow_json_schema
from orchestrator.definition.field_words import FIELD_WORDS, FIELD_WORDS_OF
from orchestrator.definition.models import STEP_TYPES
from orchestrator.definition.schemas import schema_issues
from tests.support.examples import definition_paths
from tests.unit.definition.documents import Json, agent, document, rich, switch, value

SCHEMA = workflow_json_schema()
CASES = sorted((Path(__file__).parents[2] / "workflow" / "cases").glob("*.json"))
LOOP: Json = {"step_id": "l", "step_type": "loop", "max_iterations": 3, "steps": [value("x")]}
CALL: Json = {"step_id": "c", "step_type": "api_call", "url": "https://example.com"}


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(SCHEMA)


def test_it_is_a_self_contained_schema() -> None:
    assert schema_issues(SCHEMA) == []


def test_it_takes_every_example_and_every_case(validator: jsonschema_rs.Draft202012Validator) -> None:
    sent = [json.loads(path.read_text()) for path in definition_paths()]
    sent += [{"name": "case", **json.loads(path.read_text())["definition"]} for path in CASES]
    assert len(sent) > 200
    for one in [*sent, rich()]:
        assert validate_definition(one).valid
        assert [error.message for error in validator.iter_errors(one)] == []


def test_a_definition_may_name_the_schema_for_editors(validator: jsonschema_rs.Draft202012Validator) -> None:
    sent = document(value("a"), **{"$schema": "./workflow.schema.json"})
    found = validate_definition(sent)
    assert (found.errors, found.warnings) == ([], [])
    assert validator.is_valid(sent)


@pytest.mark.parametrize(
    "sent",
    [
        {"steps": [value("a")]},
        {"name": None, "steps": [value("a")]},
        {"name": "n"},
        document(),
        document(value("a"), extra=1),
        document({"step_type": "transform", "value": 1}),
        document({"step_id": "a", "value": 1}),
        document({"step_id": "a", "step_type": "transfrom", "value": 1}),
        document({"step_id": "a", "step_type": "transform"}),
        document(value("1a")),
        document(value("a", wen="true")),
        document(value("a", depends_on="b")),
        document(value("a", join="most")),
        document(switch("s", value("b", valeu=1))),
        document(agent("a", compensate={"step_id": "u", "step_type": "nothing"})),
        document(agent("a", on_error=[{"errors": ["x"]}])),
        document(agent("a", on_error=[{"continue": True, "park": True}])),
        document(agent("a", on_error=[{"continue": True, "output": 1}])),
        document(agent("a", on_error=[{"continue": False}])),
        document(LOOP),
        document({**LOOP, "while": "true", "until": "true"}),
        document({"step_id": "w", "step_type": "wait"}),
        document({"step_id": "w", "step_type": "wait", "seconds": 1, "until": "2030-01-01T00:00:00Z"}),
        document({**CALL, "json": 1, "text": "x"}),
        document({"step_id": "v", "step_type": "vector_search", "collection": "c"}),
        document({"step_id": "v", "step_type": "vector_search", "collection": "c", "query": "q", "vector": [1]}),
        document(value("a"), limits={"budget": {"on_exhausted": "park"}}),
        document({**CALL, "auth": {}}),
        document({**CALL, "auth": {"bearer": "a", "basic": {"username": "u", "password": "p"}}}),
        document(value("a"), on_failure={"steps": []}),
        document(value("a"), timeouts={"execution_seconds": 0}),
    ],
)
def test_it_refuses_what_validation_refuses(sent: Any, validator: jsonschema_rs.Draft202012Validator) -> None:
    assert not validate_definition(sent).valid
    assert not validator.is_valid(sent)


def test_a_fault_is_told_where_it_is_and_once(validator: jsonschema_rs.Draft202012Validator) -> None:
    """A choice of all step types would answer 'none matches' at the step."""
    sent = document(value("a"), switch("s", value("b"), agent("c", priority=9)))
    (error,) = validator.iter_errors(sent)
    assert list(error.instance_path) == ["steps", 1, "cases", 0, "steps", 1, "priority"]
    (unknown,) = validator.iter_errors(document({"step_id": "a", "step_type": "transfrom"}))
    assert list(unknown.instance_path) == ["steps", 0, "step_type"]


def test_editors_can_offer_every_step_type_with_its_meaning() -> None:
    offered = SCHEMA["$defs"]["Step"]["properties"]["step_type"]
    assert offered["enum"] == list(STEP_TYPES)
    assert all(offered["enumDescriptions"])
    assert len(orjson.dumps(SCHEMA)) < 100_000


def test_editors_are_told_what_every_field_and_every_part_means() -> None:
    schema = workflow_json_schema()
    assert schema["$id"].endswith(":1")
    parts = {"Document": schema, **schema["$defs"]}
    silent = [
        f"{part}.{name}"
        for part, found in parts.items()
        for name, field in found.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []
    assert [part for part, found in parts.items() if not found.get("description")] == []
    fields = {f"{part}.{name}" for part, found in parts.items() for name in found.get("properties", {})}
    assert FIELD_WORDS_OF.keys() <= fields
    assert FIELD_WORDS.keys() <= {field.split(".")[1] for field in fields}
