"""Problem documents (RFC 9457) as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ProblemIssue(BaseModel):
    """One thing wrong with the request."""

    code: str = Field(examples=["unknown-step"])
    message: str = Field(examples=["step 'enrich_lead' depends on 'qualify', which is not a step of this definition"])
    pointer: str = Field(description="JSON pointer into the body, or the parameter's name", examples=["/steps/1"])
    hint: str | None = Field(None, examples=["did you mean 'qualify_lead'?"])
    parameter: str | None = Field(None, description="the parameter outside the body, if it is one")
    expression: str | None = None
    column: int | None = Field(None, description="position in `expression`, from 1")
    text: str | None = Field(
        None,
        description="code, message, the expression with a caret under the column, and the hint, as several lines",
        examples=["E_STEP: unknown step 'frist'\n    {{ steps.frist.output }}\n       ^ column 4\n    hint: …"],
    )


class Problem(BaseModel):
    """What every answer of 400 and above holds; some codes add members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:orchestrator:problem:workflow-not-found"])
    title: str = Field(examples=["Workflow not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no workflow 'lead-procesing'"])
    instance: str = Field(examples=["/api/v1/workflows/lead-procesing"])
    code: str = Field(examples=["workflow-not-found"])
    hint: str | None = Field(None, examples=["did you mean 'lead-processing'?"])
    errors: list[ProblemIssue] = Field(default_factory=list)


_SENTENCES = {
    400: "The body is not JSON, or uses what RFC 8259 leaves out",
    401: "No API key, or one that is not valid; `WWW-Authenticate` says how to send one",
    403: "The API key's role does not allow this",
    404: "There is nothing with this id",
    409: "The present state does not allow this",
    410: "The workflow was deleted",
    412: "The version in If-Match is not the latest",
    413: "The body or the input is too large",
    415: "The body is not application/json in UTF-8",
    422: "The request breaks rules; `errors` lists every one",
    429: "Too many requests or messages for now; come back after `Retry-After` seconds",
    503: "Redis or Temporal is away; `Retry-After` says when to come back",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation that may answer with problems of these statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _SENTENCES[status], "content": content} for status in statuses}


WITH_BODY = (400, 413, 415, 422)
"""What every operation that reads a body may answer."""
