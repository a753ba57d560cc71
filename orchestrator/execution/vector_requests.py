"""Builds what the vector activities are sent from a step's rendered fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.definition.vector_types import MOST_DOCUMENTS, VectorSearch, VectorUpsert
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_vectors import VectorSearchInput, VectorUpsertInput

_DOCUMENT_FIELDS: Final = ("id", "text", "vector", "payload")


def search_input(model: VectorSearch, call: StepCall, fields: Mapping[str, Any]) -> VectorSearchInput:
    """Return the input of `vector_search`.

    Raises:
        ValidationError: a rendered field has the wrong type.
        StepFailure: the question came out as null.
    """
    given = "query" if model.query is not None else "vector"
    if fields.get(given) is None:
        raise _wrong(call, f"'{given}' came out wrong: null")
    return VectorSearchInput(
        call=call,
        collection=fields["collection"],
        query=fields.get("query"),
        vector=fields.get("vector"),
        limit=fields.get("limit", model.limit),
        filter=fields.get("filter"),
        score_threshold=fields.get("score_threshold"),
    )


def upsert_input(model: VectorUpsert, call: StepCall, fields: Mapping[str, Any]) -> VectorUpsertInput:
    """Return the input of `vector_upsert`.

    Raises:
        ValidationError: a rendered field has the wrong type.
        StepFailure: the documents are no list of `{id?, text or vector, payload?}`.
    """
    documents = fields["documents"]
    if not isinstance(documents, list):
        raise _wrong(call, "'documents' came out wrong: no list")
    if len(documents) > MOST_DOCUMENTS:
        message = f"'documents' came out with {len(documents):,} of them; one step stores {MOST_DOCUMENTS:,}"
        raise _wrong(call, message, "store them by a foreach over slices")
    for index, document in enumerate(documents):
        _check_document(call, index, document)
    return VectorUpsertInput(call=call, collection=fields["collection"], documents=documents, distance=model.distance)


def _check_document(call: StepCall, index: int, document: Any) -> None:
    if not isinstance(document, Mapping):
        raise _wrong(call, f"'documents.{index}' came out wrong: no object")
    unknown = [name for name in document if name not in _DOCUMENT_FIELDS]
    if unknown:
        hint = "what shall be kept beside the text goes into its 'payload'"
        raise _wrong(call, f"'documents.{index}' has a field '{str(unknown[0])[:80]}' that is not known", hint)
    if (document.get("text") is None) == (document.get("vector") is None):
        raise _wrong(call, f"'documents.{index}' takes exactly one of 'text' and 'vector'")


def _wrong(call: StepCall, message: str, hint: str | None = None) -> StepFailure:
    return StepFailure(f"step '{call.path}': {message}", code="invalid-step-input", hint=hint)
