"""Step types over collections of vectors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.definition.envelope import Step

Template = Annotated[str, Field(min_length=1, max_length=100_000)]
MOST_DOCUMENTS = 1_000
MOST_RESULTS = 1_000


def _number_or_template(value: Any) -> Any:
    if isinstance(value, str) and "{{" not in value:
        raise ValueError(f"{value[:80]!r} is no template: text without '{{{{' stays text")
    return value


class VectorSearch(Step):
    """Finds the documents of a collection that are nearest to a text or a vector."""

    templates: ClassVar[tuple[str, ...]] = ("collection", "query", "vector", "limit", "filter", "score_threshold")

    step_type: Literal["vector_search"]
    collection: str = Field(min_length=1, max_length=1_000)
    query: Template | None = Field(None, description="Text; embedded by EMBEDDING_MODEL.")
    vector: list[float] | Template | None = Field(None, description="In the place of `query`: the vector itself.")
    limit: Annotated[int, Field(ge=1, le=MOST_RESULTS)] | Template = Field(10, description="At most so many results.")
    filter: dict[str, Any] | Template | None = Field(
        None, description="`must`, `should` and `must_not`: lists of conditions on the payload."
    )
    score_threshold: float | Template | None = Field(
        None, description="Leave out what is less similar; for euclid and manhattan, what is farther."
    )

    _typed = field_validator("vector", "limit", "filter", "score_threshold", mode="after")(_number_or_template)

    @model_validator(mode="after")
    def _one_question(self) -> VectorSearch:
        if (self.query is None) == (self.vector is None):
            raise ValueError("a search takes exactly one of 'query' and 'vector'")
        return self


class VectorUpsert(Step):
    """Stores documents in a collection, which the first of them creates."""

    templates: ClassVar[tuple[str, ...]] = ("collection", "documents")

    step_type: Literal["vector_upsert"]
    collection: str = Field(min_length=1, max_length=1_000)
    documents: Annotated[list[Any], Field(max_length=MOST_DOCUMENTS)] | Template = Field(
        description="Template; a list of `{id?, text or vector, payload?}`, 1,000 at most."
    )
    distance: Literal["cosine", "dot", "euclid", "manhattan"] = Field(
        "cosine", description="How a new collection compares; one that exists must have it."
    )

    _typed = field_validator("documents", mode="after")(_number_or_template)
