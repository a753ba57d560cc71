"""The search attributes of executions: what lists can filter by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from orchestrator.definition.limits import TAGS_BYTES

DEFINITION_ID = SearchAttributeKey.for_keyword("WorkflowDefinitionId")
DEFINITION_VERSION = SearchAttributeKey.for_int("WorkflowDefinitionVersion")
TAGS = SearchAttributeKey.for_keyword_list("WorkflowTags")
STATUS = SearchAttributeKey.for_keyword("OrchestratorStatus")
"""Tells only `queued`, `paused` and `awaiting`; the server's own `ExecutionStatus` tells the others."""
DETAIL = SearchAttributeKey.for_keyword("OrchestratorDetail")
ERROR_TYPE = SearchAttributeKey.for_keyword("OrchestratorErrorType")
RERUN_OF = SearchAttributeKey.for_keyword("OrchestratorRerunOf")
"""The execution that this one runs again from a step."""

TYPES: dict[str, IndexedValueType.ValueType] = {
    DEFINITION_ID.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    DEFINITION_VERSION.name: IndexedValueType.INDEXED_VALUE_TYPE_INT,
    TAGS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    STATUS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    DETAIL.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    ERROR_TYPE.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    RERUN_OF.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
}
"""Name and type of each, for registration with a server."""


def at_start(
    workflow_id: str, version: int | None, tags: Mapping[str, str], rerun_of: str | None = None
) -> TypedSearchAttributes:
    """Return what is known when an execution starts; given with the start, so they cost no event.

    Args:
        workflow_id: the definition's id.
        version: its version; None for an unpinned start or an unstored definition.
        tags: the definition's and the start's tags; each is searchable as `key=value`.
        rerun_of: the execution that it runs again from a step.
    """
    pairs: list[SearchAttributePair[Any]] = [SearchAttributePair(DEFINITION_ID, workflow_id)]
    if version is not None:
        pairs.append(SearchAttributePair(DEFINITION_VERSION, version))
    if tags:
        pairs.append(SearchAttributePair(TAGS, [f"{key}={value}" for key, value in tags.items()]))
    if rerun_of is not None:
        pairs.append(SearchAttributePair(RERUN_OF, rerun_of))
    return TypedSearchAttributes(pairs)


def once_loaded(
    known: TypedSearchAttributes, version: int | None, tags: Mapping[str, str]
) -> list[SearchAttributeUpdate[Any]]:
    """Return what an execution that was started by reference lacks, once it knows its definition.

    Args:
        known: what was given with its start; its tags come before the definition's.
        version: the definition's version.
        tags: the definition's tags.
    """
    updates: list[SearchAttributeUpdate[Any]] = []
    if version is not None and known.get(DEFINITION_VERSION) is None:
        updates.append(DEFINITION_VERSION.value_set(version))
    own = list(known.get(TAGS) or [])
    taken = {entry.partition("=")[0] for entry in own}
    more = [f"{key}={value}" for key, value in tags.items() if key not in taken]
    if more and sum(len(entry.encode()) + 3 for entry in (*own, *more)) <= TAGS_BYTES:
        updates.append(TAGS.value_set([*own, *more]))
    return updates
