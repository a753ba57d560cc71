"""Every operation of the API, by the kind of resource."""

from orchestrator.sdk.agents import AgentOperations
from orchestrator.sdk.bulk import BulkOperations
from orchestrator.sdk.events import EventOperations
from orchestrator.sdk.executions import ExecutionOperations
from orchestrator.sdk.schedules import ScheduleOperations
from orchestrator.sdk.service import ServiceOperations
from orchestrator.sdk.workflows import WorkflowOperations


class Operations(
    WorkflowOperations,
    ExecutionOperations,
    BulkOperations,
    EventOperations,
    ScheduleOperations,
    AgentOperations,
    ServiceOperations,
):
    """Every operation of the API, under the ids of the OpenAPI document."""
