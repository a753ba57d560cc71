"""The definition language: its JSON Schema, and expressions to try out."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from api.json_body import StrictJsonRoute
from api.schemas.expressions import EvaluateRequest, EvaluateResult
from api.schemas.problems import WITH_BODY, problems
from orchestrator.definition import workflow_json_schema
from orchestrator.expressions import evaluate, render

router = APIRouter(tags=["language"], route_class=StrictJsonRoute)


@router.get(
    "/schemas/workflow.json", operation_id="get_workflow_schema", summary="The JSON Schema of workflow definitions"
)
async def get_workflow_schema() -> dict[str, Any]:
    """Return JSON Schema 2020-12, for editors; `validate` checks more than a schema can say."""
    return workflow_json_schema()


@router.post(
    "/expressions/evaluate",
    operation_id="evaluate_expression",
    summary="Try an expression or a template",
    responses=problems(*WITH_BODY),
)
async def evaluate_expression(body: EvaluateRequest) -> EvaluateResult:
    """Evaluate on a sample context with the limits of an execution; an expression's error is a 422."""
    # Within its limits an expression may take a tenth of a second.
    if body.expression is not None:
        return EvaluateResult(value=await asyncio.to_thread(evaluate, body.expression, body.context))
    return EvaluateResult(value=await asyncio.to_thread(render, body.template, body.context))
