"""The contract: its snapshot is current, and it keeps what the last release promised."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from scripts.contract_changes import breaking_changes
from scripts.generate_contract import OPENAPI, RELEASED, contract, outdated

CONTRACT = contract()


def test_the_snapshot_and_the_clients_types_are_current() -> None:
    assert [path.name for path in outdated()] == [], "run python -m scripts.generate_contract"
    assert json.loads(OPENAPI.read_text()) == json.loads(json.dumps(CONTRACT))


def test_nothing_that_the_last_release_promised_is_broken() -> None:
    assert breaking_changes(json.loads(RELEASED.read_text()), CONTRACT) == []


def operation(document: dict[str, Any], operation_id: str) -> dict[str, Any]:
    for item in document["paths"].values():
        for found in item.values():
            if found["operationId"] == operation_id:
                here: dict[str, Any] = found
                return here
    raise AssertionError(operation_id)


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def parameter(document: dict[str, Any], operation_id: str, name: str) -> dict[str, Any]:
    return next(item for item in operation(document, operation_id)["parameters"] if item["name"] == name)


def drop_operation(document: dict[str, Any]) -> None:
    del document["paths"]["/api/v1/executions/{execution_id}/pause"]["post"]


def rename_operation(document: dict[str, Any]) -> None:
    operation(document, "pause_execution")["operationId"] = "hold_execution"


def drop_parameter(document: dict[str, Any]) -> None:
    operation(document, "list_executions")["parameters"].remove(parameter(document, "list_executions", "status"))


def demand_parameter(document: dict[str, Any]) -> None:
    parameter(document, "list_executions", "status")["required"] = True


def add_demanded_parameter(document: dict[str, Any]) -> None:
    new = {"in": "query", "name": "team", "required": True, "schema": {"type": "string"}}
    operation(document, "list_executions")["parameters"].append(new)


def change_parameter(document: dict[str, Any]) -> None:
    parameter(document, "list_executions", "limit")["schema"]["type"] = "string"


def drop_request_field(document: dict[str, Any]) -> None:
    del schema(document, "ExecuteRequest")["properties"]["tags"]


def demand_field(document: dict[str, Any]) -> None:
    schema(document, "ExecuteRequest").setdefault("required", []).append("tags")


def add_demanded_field(document: dict[str, Any]) -> None:
    schema(document, "ExecuteRequest")["properties"]["team"] = {"type": "string"}
    schema(document, "ExecuteRequest").setdefault("required", []).append("team")


def narrow_value(document: dict[str, Any]) -> None:
    schema(document, "ApprovalRequest")["properties"]["decision"]["enum"] = ["approved"]


def drop_answered_field(document: dict[str, Any]) -> None:
    del schema(document, "ExecutionDocument")["properties"]["run_id"]


def drop_field_deep_in_an_answer(document: dict[str, Any]) -> None:
    del schema(document, "StepRow")["properties"]["state"]


def change_answered_field(document: dict[str, Any]) -> None:
    schema(document, "StepRow")["properties"]["attempts"] = {"type": "string"}


def let_answered_field_be_null(document: dict[str, Any]) -> None:
    schema(document, "ExecutionDocument")["properties"]["execution_id"] = {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }


def leave_out_answered_field(document: dict[str, Any]) -> None:
    schema(document, "ExecutionDocument")["required"].remove("status")


def drop_status(document: dict[str, Any]) -> None:
    del operation(document, "execute_workflow")["responses"]["202"]


def drop_body(document: dict[str, Any]) -> None:
    del operation(document, "execute_workflow")["requestBody"]


def lower_a_bound(document: dict[str, Any]) -> None:
    parameter(document, "list_executions", "limit")["schema"]["maximum"] = 100


def bound_an_optional_field(document: dict[str, Any]) -> None:
    options = schema(document, "ExecuteRequest")["properties"]["version"]["anyOf"]
    next(option for option in options if option["type"] == "integer")["minimum"] = 2


def demand_a_pattern(document: dict[str, Any]) -> None:
    schema(document, "NewKey")["properties"]["name"]["pattern"] = "^[a-z]+$"


def demand_a_format(document: dict[str, Any]) -> None:
    schema(document, "BulkRequest")["properties"]["reason"]["format"] = "uuid"


def narrow_a_constant(document: dict[str, Any]) -> None:
    schema(document, "BulkRequest")["properties"]["reason"]["const"] = "because"


def demand_multiples(document: dict[str, Any]) -> None:
    schema(document, "NewCollection")["properties"]["dimensions"]["multipleOf"] = 8


def demand_other_names(document: dict[str, Any]) -> None:
    schema(document, "ExecuteRequest")["properties"]["tags"]["propertyNames"] = {"maxLength": 3}


def narrow_values_by_name(document: dict[str, Any]) -> None:
    (values,) = schema(document, "BulkFilter")["properties"]["tags"]["patternProperties"].values()
    values["maxLength"] = 10


def format_an_optional_field(document: dict[str, Any]) -> None:
    options = parameter(document, "list_workflows", "text")["schema"]["anyOf"]
    next(option for option in options if option["type"] == "string")["format"] = "email"


def refuse_other_fields(document: dict[str, Any]) -> None:
    schema(document, "CodecPayloads")["additionalProperties"] = False


BREAKS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (drop_operation, "POST /api/v1/executions/{execution_id}/pause is gone"),
    (rename_operation, "is called 'hold_execution', not 'pause_execution'"),
    (drop_parameter, "query parameter 'status' is gone"),
    (demand_parameter, "query parameter 'status' must be given now"),
    (add_demanded_parameter, "demands the new query parameter 'team'"),
    (change_parameter, "query parameter 'limit': integer is not taken any more"),
    (drop_request_field, "body: the field 'tags' is gone"),
    (demand_field, "body: the field 'tags' must be given now"),
    (add_demanded_field, "body: demands the new field 'team'"),
    (narrow_value, "field 'decision': rejected is not taken any more"),
    (drop_answered_field, "the field 'run_id' is gone"),
    (drop_field_deep_in_an_answer, "the field 'state' is gone"),
    (change_answered_field, "field 'attempts': string may come now"),
    (let_answered_field_be_null, "field 'execution_id': null may come now"),
    (leave_out_answered_field, "the field 'status' may be absent now"),
    (drop_status, "does not answer 202 any more"),
    (drop_body, "takes no application/json any more"),
    (lower_a_bound, "query parameter 'limit': maximum is 100, not 200"),
    (bound_an_optional_field, "field 'version': minimum is 2, not 1"),
    (demand_a_pattern, "field 'name': pattern is ^[a-z]+$ now"),
    (demand_a_format, "field 'reason': format is uuid now, not absent"),
    (narrow_a_constant, "field 'reason': const is because now"),
    (demand_multiples, "field 'dimensions': multipleOf is 8 now"),
    (demand_other_names, "field 'tags': propertyNames is {'maxLength': 3} now"),
    (narrow_values_by_name, "maxLength is 10, not 256"),
    (format_an_optional_field, "query parameter 'text': format is email now"),
    (refuse_other_fields, "fields that it does not name are refused now"),
]


@pytest.mark.parametrize(("change", "words"), BREAKS, ids=[change.__name__ for change, _ in BREAKS])
def test_a_change_that_breaks_clients_is_told_in_words(change: Callable[[dict[str, Any]], None], words: str) -> None:
    changed = copy.deepcopy(CONTRACT)
    change(changed)
    found = breaking_changes(CONTRACT, changed)
    assert any(words in sentence for sentence in found), found


def test_more_is_no_break() -> None:
    more = copy.deepcopy(CONTRACT)
    more["paths"]["/api/v1/new"] = {"get": {"operationId": "get_new", "responses": {}}}
    schema(more, "ExecuteRequest")["properties"]["team"] = {"type": "string"}
    schema(more, "ExecutionDocument")["properties"]["team"] = {"type": "string"}
    schema(more, "ExecutionDocument")["required"].append("team")
    operation(more, "list_executions")["parameters"].append(
        {"in": "query", "name": "team", "required": False, "schema": {"type": "string"}}
    )
    assert breaking_changes(CONTRACT, more) == []
    assert breaking_changes(CONTRACT, CONTRACT) == []


def test_operations_whose_parameters_have_bounds_say_that_they_may_be_refused() -> None:
    bounds = {"pattern", "maxLength", "minLength", "minimum", "maximum", "enum"}
    for path, item in CONTRACT["paths"].items():
        for method, found in item.items():
            schemas = [one["schema"] for one in found.get("parameters", ()) if one["in"] != "header"]
            bounded = [
                one for one in schemas if bounds & set(one) or any(bounds & set(o) for o in one.get("anyOf", ()))
            ]
            assert not bounded or "422" in found["responses"], (method, path)
