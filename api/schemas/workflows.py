"""Workflow definitions as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.problems import ProblemIssue

LEAD_PROCESSING: dict[str, Any] = {
    "name": "Lead Processing",
    "description": "Process and qualify new leads",
    "steps": [
        {
            "step_id": "qualify_lead",
            "name": "Qualify Lead",
            "step_type": "agent_task",
            "agent_type": "sales",
            "task": "qualify_lead",
            "parameters": {"priority": "high"},
        },
        {
            "step_id": "enrich_lead",
            "name": "Enrich Lead Data",
            "step_type": "agent_task",
            "agent_type": "research",
            "task": "enrich_lead",
            "depends_on": ["qualify_lead"],
        },
    ],
}


class WorkflowWritten(BaseModel):
    """What a write stored, and what the validator remarked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workflow_id": "lead-processing",
                    "version": 1,
                    "sha256": "9f2c…",
                    "warnings": [],
                    "inferred_dependencies": {},
                }
            ]
        }
    )

    workflow_id: str
    version: int
    sha256: str = Field(description="hash of the definition's canonical JSON (RFC 8785)")
    warnings: list[ProblemIssue] = Field(default_factory=list)
    inferred_dependencies: dict[str, list[str]] = Field(
        default_factory=dict, description="step id to the steps that its expressions read without listing them"
    )


class WorkflowPause(BaseModel):
    """Why every execution of a workflow is held."""

    model_config = ConfigDict(from_attributes=True)

    reason: str
    by: str = Field(description="name of the API key that paused it")
    at: datetime


class WorkflowPauseAnswer(BaseModel):
    """A workflow's pause as it is now, and what became of its executions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workflow_id": "lead-processing",
                    "paused": {"reason": "prices change", "by": "kim", "at": "2026-11-22T14:02:50Z"},
                    "signalled": 3,
                    "closed": 0,
                }
            ]
        }
    )

    workflow_id: str
    paused: WorkflowPause | None = Field(description="null: it is not paused")
    signalled: int = Field(description="running executions that were told")
    closed: int = Field(description="executions that closed before they could be told")


class WorkflowDocument(BaseModel):
    """One version of a workflow."""

    workflow_id: str
    version: int
    sha256: str
    deleted: bool = False
    paused: WorkflowPause | None = Field(None, description="set while every execution of the workflow is held")
    created_at: datetime
    updated_at: datetime
    definition: dict[str, Any] = Field(examples=[{"workflow_id": "lead-processing", **LEAD_PROCESSING}])


class WorkflowSummary(BaseModel):
    """One workflow in a list."""

    workflow_id: str
    name: str | None = None
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    version: int
    sha256: str
    created_at: datetime
    updated_at: datetime


class WorkflowPage(BaseModel):
    """Workflows in the order of their ids."""

    items: list[WorkflowSummary]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")


class WorkflowVersion(BaseModel):
    """One version in a history."""

    version: int
    sha256: str
    updated_at: datetime


class WorkflowVersions(BaseModel):
    """Versions, newest first."""

    items: list[WorkflowVersion]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")


class ValidationReport(BaseModel):
    """Everything that the validator found; nothing was stored."""

    valid: bool
    workflow_id: str | None = None
    sha256: str | None = None
    errors: list[ProblemIssue] = Field(default_factory=list)
    warnings: list[ProblemIssue] = Field(default_factory=list)
    inferred_dependencies: dict[str, list[str]] = Field(default_factory=dict)


class WorkflowDiff(BaseModel):
    """What changed between two versions of a workflow."""

    workflow_id: str
    from_version: int
    to_version: int
    patch: list[dict[str, Any]] = Field(
        description="JSON Patch (RFC 6902) that makes the second version of the first; empty where they are equal",
        examples=[[{"op": "replace", "path": "/steps/0/retry/max_attempts", "value": 3}]],
    )
    text: str = Field(
        description="the same for people, a line for each change",
        examples=["step 'qualify_lead': retry.max_attempts changed from 5 to 3"],
    )
