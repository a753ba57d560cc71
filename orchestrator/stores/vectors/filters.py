"""The filter language of searches: the part of Qdrant's JSON filters that both stores understand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.execution.errors_steps import VectorRejected


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Match(_Strict):
    """Exactly one of: equal to a value, one of several, none of several."""

    value: bool | int | str | None = None
    any: list[str] | list[int] | None = None
    except_: list[str] | list[int] | None = Field(default=None, alias="except")

    @model_validator(mode="after")
    def _one(self) -> Match:
        if len(self.model_fields_set) != 1 or next(iter(self.model_dump(exclude_unset=True).values())) is None:
            raise ValueError("match takes exactly one of value, any and except")
        return self


class Range(_Strict):
    """Bounds of a number."""

    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


class Condition(_Strict):
    """A payload field, by its path, and what it must satisfy."""

    key: str = Field(min_length=1, max_length=500)
    match: Match | None = None
    range: Range | None = None

    @model_validator(mode="after")
    def _one(self) -> Condition:
        if (self.match is None) == (self.range is None):
            raise ValueError("a condition takes exactly one of match and range")
        return self


class IsEmpty(_Strict):
    """The field is absent, null or an empty list."""

    is_empty: FieldPath


class IsNull(_Strict):
    """The field is null."""

    is_null: FieldPath


class FieldPath(_Strict):
    """A payload field, by its path."""

    key: str = Field(min_length=1, max_length=500)


class VectorFilter(_Strict):
    """All of `must`, at least one of `should`, none of `must_not`."""

    must: list[Clause] = Field(default_factory=list, max_length=100)
    should: list[Clause] = Field(default_factory=list, max_length=100)
    must_not: list[Clause] = Field(default_factory=list, max_length=100)


Clause = Condition | IsEmpty | IsNull | VectorFilter

for _model in (IsEmpty, IsNull, VectorFilter):
    _model.model_rebuild()


def parse_filter(document: dict[str, Any] | None) -> VectorFilter | None:
    """Read a filter; None and an empty one mean everything.

    Raises:
        VectorRejected: it is not one, naming every place.
    """
    if not document:
        return None
    try:
        return VectorFilter.model_validate(document)
    except (ValidationError, RecursionError) as error:
        places: list[str] = []
        if isinstance(error, ValidationError):
            places = [".".join(str(part) for part in entry["loc"]) for entry in error.errors()[:10]]
        raise VectorRejected(
            f"The vector filter is not understood{' at ' + ', '.join(dict.fromkeys(places)) if places else ''}.",
            hint='A filter looks like {"must": [{"key": "city", "match": {"value": "Paris"}}]}.',
            details={"places": places},
        ) from error
