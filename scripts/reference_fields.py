"""Says in tables what the models of a definition say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from orchestrator.definition import envelope, leaf_types, models, parts
from orchestrator.definition.block_types import Branch, Case, Default, Tolerate
from orchestrator.definition.envelope import Step

_EXPRESSIONS = ("when", "while", "until", "accept_when")
_TEMPLATES = ("output", "item_output", "iteration_output")
_PARTS: dict[str, tuple[str, type[BaseModel]]] = {
    "retry": ("Retry", parts.Retry),
    "timeouts": ("Timeouts", parts.Timeouts),
    "budget": ("Budget", parts.Budget),
    "handler": ("An entry of `on_error`", envelope.Handler),
    "auth": ("`auth`", leaf_types.Auth),
    "case": ("A case of a switch", Case),
    "default": ("A switch's `default`", Default),
    "branch": ("A branch", Branch),
    "tolerate": ("`tolerate`", Tolerate),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    # A bar inside code would end the cell, too.
    return text.replace("|", "\\|").replace("\n", " ").strip()


def code(value: Any) -> str:
    """Return a value as inline JSON."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


# --- models -------------------------------------------------------------------------------------------------------


def type_text(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return a JSON Schema of a field in a few words."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return "object" if defs.get(name, {}).get("type", "object") == "object" else name
    if "discriminator" in schema:
        return "step"
    if "anyOf" in schema:
        found = [type_text(item, defs) for item in schema["anyOf"] if item.get("type") != "null"]
        return " or ".join(dict.fromkeys(found))
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(item) for item in schema["enum"])
    return _plain_type(schema, defs)


def _plain_type(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        inner = type_text(schema.get("items", {}), defs)
        return f"list of {inner}{'s' if inner in ('step', 'string', 'object') else ''}"
    if kind == "object":
        values = schema.get("additionalProperties")
        of = type_text(values, defs) if isinstance(values, Mapping) else ""
        return f"map of {of}s" if of in ("string", "object") else "object"
    return str(kind) if kind else "any"


def bounds_text(schema: Mapping[str, Any]) -> str:
    """Return the bounds that a JSON Schema of a field sets."""
    options = [item for item in schema.get("anyOf", [schema]) if item.get("type") != "null"]
    return "; ".join(filter(None, dict.fromkeys(_bound(option) for option in options)))


def _bound(schema: Mapping[str, Any]) -> str:
    texts = []
    for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤")):
        if key in schema:
            texts.append(f"{sign} {schema[key]:,}")
    for least, most, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minProperties", "maxProperties", "entries"),
    ):
        if least in schema and most in schema:
            texts.append(f"{schema[least]:,} to {schema[most]:,} {unit}")
        elif most in schema:
            texts.append(f"≤ {schema[most]:,} {unit}")
        elif least in schema:
            texts.append(f"≥ {schema[least]:,} {unit}")
    if "pattern" in schema:
        texts.append(f"`{schema['pattern']}`")
    return ", ".join(texts)


def _default(schema: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    value = schema.get("default")
    return "" if value is None or value in ([], {}) else code(value)


def fields(model: type[BaseModel], leave_out: Iterable[str] = ()) -> str:
    """Return the table of a model's fields.

    Args:
        model: a part of a definition.
        leave_out: names of fields that another table has.
    """
    whole = model.model_json_schema(by_alias=True)
    defs = whole.get("$defs", {})
    if "properties" not in whole:
        # A model that refers to itself is given as a reference.
        whole = defs[str(whole["$ref"]).rpartition("/")[2]]
    needed = whole.get("required", [])
    rows = []
    for name, schema in whole["properties"].items():
        if name not in leave_out:
            said = [_evaluated(model, name), bounds_text(schema), _said(schema)]
            default = _default(schema, name in needed)
            rows.append([f"`{name}`", type_text(schema, defs), default, ". ".join(filter(None, said))])
    return table(["field", "type", "default", "notes"], rows) if rows else "No fields of its own."


def _said(schema: Mapping[str, Any]) -> str:
    text = str(schema.get("description", "")).removeprefix("Template; ").rstrip(".")
    return text[:1].upper() + text[1:]


def _evaluated(model: type[BaseModel], name: str) -> str:
    internal = next((key for key, info in model.model_fields.items() if (info.alias or key) == name), name)
    if internal in getattr(model, "conditions", ()) or (name in _EXPRESSIONS and model is not leaf_types.Wait):
        return "*expression*"
    is_template = internal in getattr(model, "templates", ()) or (name in _TEMPLATES and model is not models.Document)
    return "*template*" if is_template else ""


def document() -> str:
    """The fields of the document."""
    texts = [fields(models.Document)]
    for name, info in models.Document.model_fields.items():
        for model in getattr(info.annotation, "__args__", ()):
            if isinstance(model, type) and issubclass(model, parts.Part) and "steps" not in model.model_fields:
                texts.append(f"`{name}`:\n\n{fields(model)}")
    return "\n\n".join(texts)


def step_types() -> str:
    """The fields of every step type."""
    texts = []
    for name, model in models.STEP_TYPES.items():
        head = (model.__doc__ or "").strip().split("\n")[0]
        texts.append(f"### {name}\n\n{head}\n\n{fields(model, Step.model_fields)}")
    return "\n\n".join(texts)


def small_parts() -> str:
    """The fields of the parts inside steps."""
    return "\n\n".join(f"### {title}\n\n{fields(model)}" for title, model in _PARTS.values())
