"""Workflows and their versions; the language they are written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.sdk.calls import Call, delete, expecting, fields, get, path, post, put
from orchestrator.sdk.documents import (
    SimulationDocument,
    ValidationReport,
    WorkflowDiff,
    WorkflowDocument,
    WorkflowPage,
    WorkflowPauseAnswer,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersions,
    WorkflowWritten,
)
from orchestrator.sdk.methods import Operation, items_of

SWEEP_SECONDS = 120.0


class WorkflowOperations:
    """Definitions with immutable versions."""

    @Operation
    def create_workflow(self, definition: Mapping[str, Any]) -> Call[WorkflowWritten]:
        """Store a definition under an id that is free."""
        return post("/workflows/", definition)

    @Operation
    def list_workflows(
        self, *, tag: str | None = None, text: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Call[WorkflowPage]:
        """A page of the latest versions; `tag` is `key=value`."""
        return get("/workflows/", tag=tag, text=text, limit=limit, cursor=cursor)

    iter_workflows = items_of(list_workflows, WorkflowSummary)

    @Operation
    def validate_workflow(self, definition: Mapping[str, Any]) -> Call[ValidationReport]:
        """Every error and warning of a definition at once; nothing is stored."""
        return post("/workflows/validate", definition, repeatable=True)

    @Operation
    def get_workflow(self, workflow_id: str, *, version: int | None = None) -> Call[WorkflowDocument]:
        """A version, the latest by default."""
        return get(path("workflows", workflow_id), version=version)

    @Operation
    def put_workflow(
        self, workflow_id: str, definition: Mapping[str, Any], *, expected_version: int | None = None
    ) -> Call[WorkflowWritten]:
        """Store a definition; a new version unless the latest has the same content."""
        return put(path("workflows", workflow_id), definition, expected_version=expected_version)

    @Operation
    def delete_workflow(self, workflow_id: str, *, expected_version: int | None = None) -> Call[None]:
        """Refuse new starts; executions run on and versions stay readable."""
        return delete(path("workflows", workflow_id), expected_version=expected_version)

    @Operation
    def pause_workflow(self, workflow_id: str, reason: str | None = None) -> Call[WorkflowPauseAnswer]:
        """Hold every execution of a workflow, those that start meanwhile too; many running ones take a while."""
        return post(path("workflows", workflow_id, "pause"), fields(reason=reason), wait_seconds=SWEEP_SECONDS)

    @Operation
    def resume_workflow(self, workflow_id: str, reason: str | None = None) -> Call[WorkflowPauseAnswer]:
        """Take the workflow's hold off its executions; an operator's stays."""
        return post(path("workflows", workflow_id, "resume"), fields(reason=reason), wait_seconds=SWEEP_SECONDS)

    @Operation
    def list_workflow_versions(
        self, workflow_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Call[WorkflowVersions]:
        """A page of versions, newest first."""
        return get(path("workflows", workflow_id, "versions"), limit=limit, cursor=cursor)

    iter_workflow_versions = items_of(list_workflow_versions, WorkflowVersion)

    @Operation
    def restore_workflow_version(
        self, workflow_id: str, version: int, *, expected_version: int | None = None
    ) -> Call[WorkflowWritten]:
        """Store an earlier version's content as the next version."""
        return expecting(post(path("workflows", workflow_id, "versions", version, "restore")), expected_version)

    @Operation
    def diff_workflow_versions(self, workflow_id: str, version: int, other: int) -> Call[WorkflowDiff]:
        """What makes one version of another: `patch` (RFC 6902) and `text`."""
        return get(path("workflows", workflow_id, "versions", version, "diff", other))

    @Operation
    def simulate_workflow(
        self, workflow_id: str, scenario: Mapping[str, Any] | None = None, *, version: int | None = None
    ) -> Call[SimulationDocument]:
        """What a stored workflow would do, with mocks and time skipped; nothing outside is touched.

        Args:
            workflow_id: of the stored definition.
            scenario: `input_data`, `mocks`, `messages`, `unmocked`, `now`, all of them optional.
            version: the latest by default.
        """
        return post(path("workflows", workflow_id, "simulate"), scenario or {}, repeatable=True, version=version)

    @Operation
    def simulate_definition(
        self, definition: Mapping[str, Any], scenario: Mapping[str, Any] | None = None
    ) -> Call[SimulationDocument]:
        """What a definition that is not stored would do; its children run from stored ones."""
        return post("/workflows/simulate", {**(scenario or {}), "definition": definition}, repeatable=True)

    @Operation
    def get_workflow_schema(self) -> Call[dict[str, Any]]:
        """The JSON Schema of definitions."""
        return get("/schemas/workflow.json")

    @Operation
    def evaluate_expression(
        self, expression: str | None = None, *, template: Any = None, context: Mapping[str, Any] | None = None
    ) -> Call[dict[str, Any]]:
        """Try an expression, or a template where no expression is given, on a sample context."""
        body = fields(expression=expression, context=context)
        return post("/expressions/evaluate", body if expression else {**body, "template": template}, repeatable=True)
