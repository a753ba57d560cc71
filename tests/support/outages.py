"""Every operation of the API as one valid request, and the parts without which it cannot be answered."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.rest import lead_workflow

PARTS = ("redis", "temporal", "worker")


@dataclass(frozen=True)
class Call:
    """One operation of the API, as a valid request.

    Attributes:
        needs: the parts without which it is 503; the others do not concern it.
        body: True: a definition.
        absent: what it acts on may not be there.
        headers: beside the usual ones.
    """

    method: str
    path: str
    needs: frozenset[str] = frozenset()
    body: Any = None
    absent: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


TOOL = {"description": "A tool.", "http": {"url": "https://example.com/"}}
YEARLY = {"workflow_id": "outage", "cron": ["@yearly"]}
HOOK = {"secret": "ACCEPTANCE", "scheme": "github"}
SECRET = "s3cret/of acceptance+="
SIGNED = {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()}
REDIS, TEMPORAL, WORKER = (frozenset({name}) for name in PARTS)
MESSAGE = TEMPORAL | WORKER
EVERY = REDIS | MESSAGE
CALLS = {
    "create_workflow": Call("POST", "/workflows/", REDIS, True),
    "list_workflows": Call("GET", "/workflows/", REDIS),
    "validate_workflow": Call("POST", "/workflows/validate", REDIS, True),
    "get_workflow": Call("GET", "/workflows/{workflow_id}", REDIS),
    "put_workflow": Call("PUT", "/workflows/{workflow_id}", REDIS, True),
    "delete_workflow": Call("DELETE", "/workflows/{spare_id}", REDIS),
    "pause_workflow": Call("POST", "/workflows/{spare_id}/pause", REDIS | TEMPORAL, {}),
    "resume_workflow": Call("POST", "/workflows/{spare_id}/resume", REDIS | TEMPORAL, {}),
    "list_workflow_versions": Call("GET", "/workflows/{workflow_id}/versions", REDIS),
    "restore_workflow_version": Call("POST", "/workflows/{workflow_id}/versions/1/restore", REDIS),
    "diff_workflow_versions": Call("GET", "/workflows/{workflow_id}/versions/1/diff/1", REDIS),
    "simulate_workflow": Call("POST", "/workflows/{workflow_id}/simulate", REDIS, {"input_data": {}}),
    "simulate_definition": Call("POST", "/workflows/simulate", REDIS, {"definition": lead_workflow()}),
    "execute_workflow": Call("POST", "/workflows/{workflow_id}/execute", REDIS | TEMPORAL, {"input_data": {}}),
    "list_executions": Call("GET", "/executions/", TEMPORAL),
    "get_execution": Call("GET", "/executions/{execution_id}", TEMPORAL),
    "get_execution_ledger": Call("GET", "/executions/{execution_id}/ledger", MESSAGE),
    "raise_budget": Call("POST", "/executions/{execution_id}/budget", MESSAGE, {"tokens": 1}),
    "list_steps": Call("GET", "/executions/{execution_id}/steps", TEMPORAL),
    "get_step": Call("GET", "/executions/{execution_id}/steps/qualify_lead", TEMPORAL),
    "get_execution_graph": Call("GET", "/executions/{execution_id}/graph", TEMPORAL),
    "watch_execution": Call("GET", "/executions/{execution_id}/events", REDIS | TEMPORAL),
    "pause_execution": Call("POST", "/executions/{execution_id}/pause", TEMPORAL, {}),
    "resume_execution": Call("POST", "/executions/{execution_id}/resume", TEMPORAL, {}),
    "cancel_execution": Call("POST", "/executions/{spare_execution_id}/cancel", TEMPORAL, {}),
    "terminate_execution": Call("POST", "/executions/{spare_execution_id}/terminate", TEMPORAL, {}),
    "retry_execution": Call("POST", "/executions/{closed_id}/retry", EVERY, {}),
    "rerun_execution": Call("POST", "/executions/{closed_id}/rerun", EVERY, {"from_step": "qualify_lead"}),
    "start_bulk_job": Call(
        "POST",
        "/executions/bulk",
        TEMPORAL,
        {"action": "cancel", "filter": {"workflow_id": "outage-none"}, "dry_run": True},
    ),
    "get_bulk_job": Call("GET", "/executions/bulk/bulk-retry-1-outage", TEMPORAL, absent=True),
    "stop_bulk_job": Call("DELETE", "/executions/bulk/bulk-retry-1-outage", TEMPORAL, absent=True),
    "signal_execution": Call("POST", "/executions/{execution_id}/signals/go", TEMPORAL, {"x": 1}),
    "decide_approval": Call(
        "POST", "/executions/{execution_id}/approvals/qualify_lead", MESSAGE, {"decision": "approved"}
    ),
    "retry_step": Call("POST", "/executions/{execution_id}/steps/qualify_lead/retry", MESSAGE, {}),
    "skip_step": Call("POST", "/executions/{execution_id}/steps/qualify_lead/skip", MESSAGE, {}),
    "set_step_output": Call("POST", "/executions/{execution_id}/steps/qualify_lead/output", MESSAGE, {"output": 1}),
    "list_tools": Call("GET", "/tools/", EVERY),
    "create_tool": Call("POST", "/tools/", REDIS, {**TOOL, "name": "outage"}),
    "get_tool": Call("GET", "/tools/outage-read", REDIS),
    "put_tool": Call("PUT", "/tools/outage-put", REDIS, TOOL),
    "delete_tool": Call("DELETE", "/tools/outage-spare", REDIS),
    "list_collections": Call("GET", "/collections/", MESSAGE),
    "create_collection": Call("POST", "/collections/", MESSAGE, {"name": "outage", "dimensions": 2}),
    "get_collection": Call("GET", "/collections/outage", MESSAGE, absent=True),
    "delete_collection": Call("DELETE", "/collections/outage", MESSAGE, absent=True),
    "get_session": Call("GET", "/sessions/outage", REDIS, absent=True),
    "delete_session": Call("DELETE", "/sessions/outage", REDIS, absent=True),
    "receive_webhook": Call("POST", "/hooks/outage", REDIS | TEMPORAL, {}, headers=SIGNED),
    "list_schedules": Call("GET", "/schedules/", TEMPORAL),
    "create_schedule": Call("POST", "/schedules/", REDIS | TEMPORAL, {**YEARLY, "schedule_id": "outage"}),
    "get_schedule": Call("GET", "/schedules/outage-read", TEMPORAL),
    "put_schedule": Call("PUT", "/schedules/outage-read", REDIS | TEMPORAL, YEARLY),
    "delete_schedule": Call("DELETE", "/schedules/outage-spare", TEMPORAL, absent=True),
    "pause_schedule": Call("POST", "/schedules/outage-read/pause", TEMPORAL, {}),
    "resume_schedule": Call("POST", "/schedules/outage-read/resume", REDIS | TEMPORAL, {}),
    "trigger_schedule": Call("POST", "/schedules/outage-read/trigger", REDIS | TEMPORAL, {}),
    "list_agents": Call("GET", "/agents/", REDIS),
    "create_agent": Call("POST", "/agents/", REDIS, {"agent_type": "outage"}),
    "get_agent": Call("GET", "/agents/sales", REDIS),
    "put_agent": Call("PUT", "/agents/outage-put", REDIS, {"agent_type": "outage-put"}),
    "delete_agent": Call("DELETE", "/agents/outage-spare", REDIS),
    "list_agent_versions": Call("GET", "/agents/sales/versions", REDIS),
    "invoke_agent": Call("POST", "/agents/sales/invoke", REDIS | TEMPORAL, {"task": "outage"}),
    "get_agent_health": Call("GET", "/agents/sales/health", REDIS),
    "list_breakers": Call("GET", "/breakers/", REDIS),
    "get_breaker": Call("GET", "/breakers/model:openai/outage", REDIS, absent=True),
    "reset_breaker": Call("POST", "/breakers/model:openai/outage/reset", REDIS, absent=True),
    "list_keys": Call("GET", "/keys/", REDIS),
    "list_audit_entries": Call("GET", "/audit/", REDIS),
    "decode_payloads": Call("POST", "/codec/decode", body={"payloads": []}),
    "download_payloads": Call("POST", "/codec/download", body={"payloads": []}),
    "open_codec_session": Call("POST", "/codec/session"),
    "create_key": Call("POST", "/keys/", REDIS, {"name": "outage", "role": "viewer"}),
    "revoke_key": Call("DELETE", "/keys/00", REDIS, absent=True),
    "get_workflow_schema": Call("GET", "/schemas/workflow.json"),
    "evaluate_expression": Call("POST", "/expressions/evaluate", body={"expression": "1 + 1", "context": {}}),
    "get_liveness": Call("GET", "/health/live"),
    "get_metrics": Call("GET", "/metrics"),
    "get_readiness": Call("GET", "/health/ready", EVERY),
}


def documented(page: Path) -> dict[str, tuple[str, ...]]:
    """Return what the reference says of each operation: a cell for each of `PARTS`.

    Fails where an operation stands in two rows.
    """
    text = page.read_text().partition("## When a part is away")[2].partition("\n## ")[0]
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 1 + len(PARTS) and "`" in cells[0]:
            for operation in re.findall(r"`(\w+)`", cells[0]):
                assert operation not in found, operation
                found[operation] = tuple(cells[1:])
    return found
