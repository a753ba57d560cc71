"""A value that satisfies a JSON Schema, for the fake model's default answers."""

from __future__ import annotations

from typing import Any


def sample_value(schema: Any, root: Any = None) -> Any:
    """Return the plainest value that satisfies a schema of the kinds that our tests use."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return "text"
    if "$ref" in schema:
        return sample_value(_resolved(schema["$ref"], root), root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return sample_value(schema[union][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    return _of_type(kind, schema, root)


def _of_type(kind: str, schema: dict[str, Any], root: Any) -> Any:
    if kind == "object":
        return {name: sample_value(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample_value(schema.get("items", {}), root) for _ in range(schema.get("minItems", 1))]
    if kind == "string":
        return ("sample text" + "." * schema.get("minLength", 0))[: schema.get("maxLength", 1000)]
    if kind in ("integer", "number"):
        return schema.get("minimum", min(1, schema.get("maximum", 1)))
    return {"boolean": True, "null": None}[kind]


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found
