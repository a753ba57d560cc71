"""What people see of a running execution: the step table in the Web UI, the status in lists, the live events."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.machine import Machine
from orchestrator.execution.messages import ExecutionView
from orchestrator.execution.views import detail_of, markdown_table, status_of
from orchestrator.workflows.event_feed import EventFeed
from orchestrator.workflows.search_attributes import DETAIL, ERROR_TYPE, STATUS


class Showing:
    """Shows the position after every change, and the end."""

    def __init__(self) -> None:
        self._feed = EventFeed()
        self._shown: tuple[str, str | None] = ("running", None)
        """Status and detail as the search attributes have them."""

    def show(self, definition: CompiledDefinition, machine: Machine) -> None:
        """Let people see the step table, and lists the status, where it is not Temporal's own."""
        status = status_of(machine.state, busy=machine.busy)
        told = detail_of(machine.state) if status != "running" else None
        workflow.set_current_details(markdown_table(definition, machine.state, status, told))
        self._feed.show(machine, status, told)
        detail = told if status in ("awaiting", "queued") else None
        if machine.closed or (status, detail) == self._shown:
            return
        updates: list[Any] = []
        if status != self._shown[0]:
            updates.append(STATUS.value_unset() if status == "running" else STATUS.value_set(status))
        if detail != self._shown[1]:
            updates.append(DETAIL.value_unset() if detail is None else DETAIL.value_set(detail))
        self._shown = (status, detail)
        workflow.upsert_search_attributes(updates)

    def finish(self, machine: Machine, view: ExecutionView) -> None:
        """Tell the end to those who watch, and lists why a failed execution failed."""
        self._feed.finish(machine, view)
        if view.status == "failed":
            workflow.upsert_search_attributes([ERROR_TYPE.value_set(view.error.type if view.error else "failed")])
