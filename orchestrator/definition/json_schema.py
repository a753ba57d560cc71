"""The JSON Schema of definitions, for editors and for `/api/v1/schemas/workflow.json`."""

from __future__ import annotations

from typing import Any

from orchestrator.definition.models import Document


def workflow_json_schema() -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of a workflow definition.

    It checks the shape; names, expressions, cycles and agents are checked by `validate_definition`.
    """
    schema = Document.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Workflow definition, language version 1",
    }
