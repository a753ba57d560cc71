"""Trying an expression."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from api.schemas.executions import Body


class EvaluateRequest(Body):
    """An expression or a template, and the names that it sees."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"expression": "input.lead.budget >= 10000", "context": {"input": {"lead": {"budget": 50000}}}},
                {"template": "Hello {{ input.name }}", "context": {"input": {"name": "Acme"}}},
            ]
        }
    )

    expression: str | None = Field(None, description="bare, or one whole `{{ }}`")
    template: Any = Field(None, description="any JSON value; texts in it may hold `{{ }}`")
    context: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_both(self) -> EvaluateRequest:
        if (self.expression is None) == ("template" not in self.model_fields_set):
            raise ValueError("send either 'expression' or 'template'")
        return self


class EvaluateResult(Body):
    """The value."""

    value: Any
