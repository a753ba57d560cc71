"""Checks a value against a JSON Schema; activities and the simulator do it alike."""

from __future__ import annotations

from orchestrator.definition.schemas import value_issues
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import StepResult, ValidateJsonInput

SHOWN_ISSUES = 20


def check_value(request: ValidateJsonInput) -> StepResult:
    """Check a value against a JSON Schema.

    Raises:
        StepFailure: it does not satisfy the schema; `details.errors` lists why.
    """
    issues = value_issues(request.json_schema, request.value)
    if issues:
        message = f"{request.what} does not satisfy its schema: {issues[0].pointer or '/'}: {issues[0].message}"
        errors = [issue.to_dict() for issue in issues[:SHOWN_ISSUES]]
        raise StepFailure(message, code=request.error_type, details={"errors": errors})
    return StepResult(output=True)
