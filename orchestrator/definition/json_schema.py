"""The JSON Schema of definitions, for editors and for `/api/v1/schemas/workflow.json`."""

from __future__ import annotations

from typing import Any

from orchestrator.definition.field_words import FIELD_WORDS, FIELD_WORDS_OF
from orchestrator.definition.models import STEP_TYPES, Document

Schema = dict[str, Any]

SCHEMA_ID = "urn:orchestrator:schemas:workflow:1"
"""The schema's name, the same wherever it is served; 1 is the version of the language."""

_PRESENT: Schema = {"not": {"type": "null"}}


def _with(name: str) -> Schema:
    return {"required": [name], "properties": {name: _PRESENT}}


def _one_of(*names: str) -> Schema:
    return {"oneOf": [_with(name) for name in names]}


_RULES: dict[str, Schema] = {
    "ApiCall": {
        "oneOf": [{"not": {"anyOf": [{"required": [n]} for n in ("json", "form", "text")]}}]
        + [{"required": [name]} for name in ("json", "form", "text")]
    },
    "Auth": {"minProperties": 1, "maxProperties": 1},
    "Handler": {
        "oneOf": [
            {"required": ["steps"]},
            {"required": ["continue"]},
            {"required": ["park"]},
            {"required": ["output"], "not": {"required": ["steps"]}},
        ]
    },
    "Budget": {"anyOf": [_with(name) for name in ("tokens", "cost_usd", "model_calls", "tool_calls")]},
    "Loop": _one_of("while", "until"),
    "VectorSearch": _one_of("query", "vector"),
    "Wait": _one_of("seconds", "until"),
}
"""Rules over several fields of a part, which its model checks in code."""


def workflow_json_schema() -> Schema:
    """Return the JSON Schema 2020-12 of a workflow definition.

    It checks the shape; names, expressions, cycles and agents are checked by `validate_definition`.
    """
    schema = _simplified(Document.model_json_schema(by_alias=True))
    for name, rule in _RULES.items():
        schema["$defs"][name].update(rule)
    schema["$defs"]["Step"] = _step(schema["$defs"])
    for name, part in [("Document", schema), *schema["$defs"].items()]:
        _describe(name, part.get("properties", {}))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "Workflow definition, language version 1",
        "anyOf": [_with("name"), _with("workflow_id")],
    }


def _describe(part: str, fields: Schema) -> None:
    """Say what fields mean whose model does not."""
    for name, field in fields.items():
        words = FIELD_WORDS_OF.get(f"{part}.{name}") or FIELD_WORDS.get(name)
        if words is not None:
            field.setdefault("description", words)


def _step(parts: Schema) -> Schema:
    """Return the schema of any step: its type chooses, so that an editor tells one fault, not one for each type."""
    kinds = {kind: model.__name__ for kind, model in STEP_TYPES.items()}
    known = {kind: parts[name].get("description", "") for kind, name in kinds.items()}
    return {
        "description": "A step: `step_type` says what it does, and which further fields it has.",
        "type": "object",
        "required": ["step_id", "step_type"],
        "properties": {
            "step_type": {"enum": list(kinds), "enumDescriptions": list(known.values())},
        },
        "allOf": [
            {
                "if": {"properties": {"step_type": {"const": kind}}, "required": ["step_type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for kind, name in kinds.items()
        ],
    }


def _simplified(found: Any) -> Any:
    """Return a schema with one name for the union of all step types, and without titles made of field names."""
    if isinstance(found, list):
        return [_simplified(item) for item in found]
    if not isinstance(found, dict):
        return found
    if "discriminator" in found:
        return {"$ref": "#/$defs/Step"} | ({"description": found["description"]} if "description" in found else {})
    # A property may be called 'title'; a title is text.
    return {key: _simplified(value) for key, value in found.items() if key != "title" or not isinstance(value, str)}
