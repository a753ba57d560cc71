"""JSON Schema 2020-12: is it one, and does a value satisfy it. Never called on the workflow thread."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jsonschema_rs
import orjson

from orchestrator.definition.issues import Issue, pointer_to

MOST_ISSUES = 50
"""A hopeless value is not worth a longer list."""


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"$ref to '{uri}' is not loaded: schemas are self-contained; put it under $defs")


@functools.lru_cache(maxsize=512)
def _validator(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        orjson.loads(schema),
        retriever=_no_retrieval,
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21),
    )


def schema_issues(schema: Any, pointer: str = "") -> list[Issue]:
    """Return what keeps `schema` from being a self-contained JSON Schema 2020-12; empty when it is one.

    Args:
        schema: an object or a boolean.
        pointer: where the schema stands in its document.
    """
    if not isinstance(schema, (dict, bool)):
        return [Issue("invalid-schema", "a JSON Schema is an object or a boolean", pointer)]
    try:
        problems = list(itertools.islice(jsonschema_rs.Draft202012Validator(_META).iter_errors(schema), MOST_ISSUES))
        if problems:
            return [
                Issue("invalid-schema", _plain(problem.message), pointer_to(problem.instance_path, pointer))
                for problem in problems
            ]
        _validator(orjson.dumps(schema))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
        return [Issue("invalid-schema", _plain(str(error)), pointer)]
    return []


_META = {"$ref": "https://json-schema.org/draft/2020-12/schema"}


def value_issues(schema: Any, value: Any, pointer: str = "") -> list[Issue]:
    """Return every way in which `value` breaks `schema`; empty when it satisfies it.

    Args:
        schema: a JSON Schema 2020-12 that `schema_issues` accepts.
        value: any JSON value.
        pointer: where the value stands in its document.

    Raises:
        ValueError: the schema is not one.
    """
    try:
        validator = _validator(orjson.dumps(schema))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(f"not a JSON Schema: {_plain(str(error))}") from error
    found = itertools.islice(validator.iter_errors(value), MOST_ISSUES)
    return [
        Issue("schema-mismatch", _plain(problem.message), pointer_to(problem.instance_path, pointer))
        for problem in found
    ]


def _plain(message: str) -> str:
    line = message.strip().split("\n")[0]
    return line if len(line) <= 500 else line[:499] + "…"
