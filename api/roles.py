"""Which role each operation needs. What this table does not name is closed to everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.stores.api_keys import ROLES, Role

Needed = Literal["public"] | Role

OPERATION_ROLES: Mapping[str, Needed] = {
    # For probes and editors, which send no keys; readiness tells strangers only which part is away.
    "get_liveness": "public",
    "get_readiness": "public",
    "get_workflow_schema": "public",
    # Its sender has no key of ours: the signature stands for it.
    "receive_webhook": "public",
    # Reading, and what changes nothing.
    "list_workflows": "viewer",
    "get_workflow": "viewer",
    "list_workflow_versions": "viewer",
    "diff_workflow_versions": "viewer",
    "validate_workflow": "viewer",
    "simulate_workflow": "viewer",
    "simulate_definition": "viewer",
    "list_executions": "viewer",
    "get_execution": "viewer",
    "watch_execution": "viewer",
    "list_steps": "viewer",
    "get_step": "viewer",
    "get_execution_graph": "viewer",
    "get_execution_ledger": "viewer",
    "get_bulk_job": "viewer",
    "list_agents": "viewer",
    "get_agent": "viewer",
    "list_agent_versions": "viewer",
    "get_agent_health": "viewer",
    "list_tools": "viewer",
    "get_tool": "viewer",
    "list_collections": "viewer",
    "get_collection": "viewer",
    "get_session": "viewer",
    "list_breakers": "viewer",
    "get_breaker": "viewer",
    "list_schedules": "viewer",
    "get_schedule": "viewer",
    "decode_payloads": "viewer",
    "download_payloads": "viewer",
    "open_codec_session": "viewer",
    "evaluate_expression": "viewer",
    "get_metrics": "viewer",
    # Running what is stored.
    "execute_workflow": "operator",
    "pause_workflow": "operator",
    "resume_workflow": "operator",
    "pause_execution": "operator",
    "resume_execution": "operator",
    "cancel_execution": "operator",
    "terminate_execution": "operator",
    "retry_execution": "operator",
    "rerun_execution": "operator",
    "start_bulk_job": "operator",
    "stop_bulk_job": "operator",
    "signal_execution": "operator",
    "decide_approval": "operator",
    "retry_step": "operator",
    "skip_step": "operator",
    "set_step_output": "operator",
    "raise_budget": "operator",
    "pause_schedule": "operator",
    "resume_schedule": "operator",
    "trigger_schedule": "operator",
    "invoke_agent": "operator",
    "delete_session": "operator",
    "reset_breaker": "operator",
    # Changing what is stored.
    "create_workflow": "editor",
    "put_workflow": "editor",
    "delete_workflow": "editor",
    "restore_workflow_version": "editor",
    "create_agent": "editor",
    "put_agent": "editor",
    "delete_agent": "editor",
    "create_schedule": "editor",
    "put_schedule": "editor",
    "delete_schedule": "editor",
    "create_tool": "editor",
    "put_tool": "editor",
    "delete_tool": "editor",
    "create_collection": "editor",
    "delete_collection": "editor",
    # Who may do what, and who did.
    "list_audit_entries": "admin",
    "list_keys": "admin",
    "create_key": "admin",
    "revoke_key": "admin",
}


def allows(role: Role, needed: Needed | None) -> bool:
    """Return whether a key of this role may use an operation; None, an operation without a role, is for nobody."""
    if needed is None:
        return False
    return needed == "public" or ROLES.index(role) >= ROLES.index(needed)
