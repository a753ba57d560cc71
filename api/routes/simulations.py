"""Simulations: run a definition with mocks, without touching anything outside."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Request

from api.dependencies import ServicesDep
from api.json_body import StrictJsonRoute
from api.parameters import ExistingWorkflowId, VersionQuery
from api.schemas.problems import WITH_BODY, problems
from api.schemas.simulations import SimulateDefinitionRequest, SimulateRequest, SimulationDocument
from api.simulations import Simulator
from api.starts import pin_definition
from api.validation import checked, require_valid
from orchestrator.definition.compiler import compile_definition
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import InvalidDefinition
from orchestrator.simulation.library import Pinned

router = APIRouter(prefix="/workflows", tags=["simulations"], route_class=StrictJsonRoute)


@router.post(
    "/simulate",
    operation_id="simulate_definition",
    summary="Simulate a definition without storing it",
    responses=problems(*WITH_BODY, 503),
)
async def simulate_definition(
    services: ServicesDep, request: Request, body: SimulateDefinitionRequest
) -> SimulationDocument:
    """Run a definition that is sent along, with mocks for what is outside and time skipped.

    Its children run from stored definitions, unless they are mocked.
    """
    found = await checked(services, body.definition)
    try:
        require_valid(found)
    except InvalidDefinition as error:
        issues = [_below(issue) for issue in error.issues]
        raise InvalidDefinition(error.message, hint=error.hint, issues=issues) from error
    compiled = found.compiled
    assert compiled is not None
    pinned = Pinned(compiled, found.document, None)
    return await _simulator(request).run(services, pinned, found.workflow_id or "", body)


@router.post(
    "/{workflow_id}/simulate",
    operation_id="simulate_workflow",
    summary="Simulate a workflow",
    responses=problems(*WITH_BODY, 404, 410, 503),
)
async def simulate_workflow(
    services: ServicesDep,
    workflow_id: ExistingWorkflowId,
    request: Request,
    version: VersionQuery = None,
    body: Annotated[SimulateRequest | None, Body()] = None,
) -> SimulationDocument:
    """Run a stored definition, the latest version by default, with mocks for what is outside and time skipped.

    Nothing is stored, called or sent: the answer is the outcome, the path taken, what was skipped and why, every call
    that would have been made, and what the scenario lacks.
    """
    stored = await pin_definition(services, workflow_id, version)
    compiled = await asyncio.to_thread(compile_definition, stored.definition, stored.sha256)
    pinned = Pinned(compiled, stored.definition, stored.version)
    return await _simulator(request).run(services, pinned, workflow_id, body or SimulateRequest())


def _simulator(request: Request) -> Simulator:
    simulator: Simulator = request.app.state.simulator
    return simulator


def _below(issue: Issue) -> Issue:
    return Issue(issue.code, issue.message, f"/definition{issue.pointer}", issue.hint, issue.expression, issue.column)
