"""What this API process counts, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.metrics import ApiMetrics

EXAMPLE = 'orchestrator_http_requests_total{operation="get_workflow",method="GET",status="200"} 3.0\n'

router = APIRouter(tags=["health"])


class MetricsText(Response):
    """Text in Prometheus's format."""

    media_type = "text/plain; version=0.0.4"


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="What this process counts",
    response_class=MetricsText,
    responses={200: {"content": {"text/plain": {"example": EXAMPLE}}, "description": "Prometheus's text format"}},
)
async def get_metrics(request: Request) -> Response:
    """Requests by operation and status, durations, open event streams, and the process's own figures.

    Of this process alone: scrape each one. Workers serve theirs at `WORKER_METRICS_ADDRESS`.
    """
    metrics: ApiMetrics = request.app.state.metrics
    return MetricsText(metrics.text())
