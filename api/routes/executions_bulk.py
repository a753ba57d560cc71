"""Jobs over many executions: start or count, read, stop."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.access import AccessDep
from api.bulk_jobs import BulkJobs
from api.dependencies import ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.schemas.bulk import BulkJob, BulkRequest
from api.schemas.problems import WITH_BODY, problems

router = APIRouter(prefix="/executions/bulk", tags=["executions"], route_class=StrictJsonRoute)

JobId = Annotated[str, Path(max_length=100, examples=["bulk-retry-42-5d1c7a90b3e84f26a1c0de8f42"])]


@router.post(
    "",
    operation_id="start_bulk_job",
    summary="Act on many executions",
    status_code=202,
    responses={
        200: {"model": BulkJob, "description": "A dry run: how many it would be"},
        202: {"description": "Started; read it at `Location`"},
        **problems(*WITH_BODY, 503),
    },
)
async def start_bulk_job(services: ServicesDep, access: AccessDep, body: BulkRequest, response: Response) -> BulkJob:
    """Cancel, terminate, pause, resume or retry every execution that a filter finds, as a job.

    The job finds them in Temporal's visibility, about a second behind. `matched` is counted before it begins; actions
    find only what they can apply to: open executions, for a retry closed ones that did not complete.
    """
    job = await BulkJobs(services).start(body, access.name)
    if job.job_id is None:
        response.status_code = 200
    else:
        response.headers["Location"] = f"{PREFIX}/executions/bulk/{job.job_id}"
    return job


@router.get("/{job_id}", operation_id="get_bulk_job", summary="Read a bulk job", responses=problems(404, 422, 503))
async def get_bulk_job(services: ServicesDep, job_id: JobId) -> BulkJob:
    """Return how far a job has come; needs no worker."""
    return await BulkJobs(services).read(job_id)


@router.delete(
    "/{job_id}",
    operation_id="stop_bulk_job",
    summary="Stop a bulk job",
    status_code=202,
    responses=problems(404, 409, 422, 503),
)
async def stop_bulk_job(services: ServicesDep, access: AccessDep, job_id: JobId) -> BulkJob:
    """Begin with no further executions; what the job did stays. A job that has ended is 409."""
    return await BulkJobs(services).stop(job_id, access.name)
