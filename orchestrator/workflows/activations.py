"""Workflow tasks that a stalling machine holds up: one at a time per execution, and none keeps its slot for ever.

The SDK takes a workflow task of over two seconds for a deadlock, interrupts it and evicts the execution from the cache,
without waiting until the task has really ended. An eviction that runs beside it, on the execution's event loop, loses
wake-ups: it is tried for ever, the worker keeps the slot and cannot end, and the execution stands still.
"""

from __future__ import annotations

import threading

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails

from orchestrator.workflows.wrapping import WrappedInstance, WrappedRunner

EVICTIONS = 3
"""How often an eviction may fail. What then still stands in an event loop lost its wake-up to an interrupt."""

_abandoned: list[WorkflowInstance] = []
"""Kept: collected as garbage, their coroutines would run on in some other thread."""


class SerialActivations(WrappedRunner):
    """Runs workflows as another runner does, and each execution's activations one after the other."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return what runs one execution."""
        return SerialInstance(self.runner.create_instance(det))


class SerialInstance(WrappedInstance):
    """One execution, whose activations exclude each other."""

    def __init__(self, instance: WorkflowInstance) -> None:
        super().__init__(instance)
        self._activating = threading.Lock()
        self._failed_evictions = 0

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Play an activation.

        Raises:
            RuntimeError: the one before still runs. Only an eviction can meet it, and is tried again after a while.
        """
        if not self._activating.acquire(blocking=False):
            raise RuntimeError("the workflow task before is still running")
        try:
            return self._evict(act) if _evicts(act) else super().activate(act)
        finally:
            self._activating.release()

    def _evict(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        try:
            return super().activate(act)
        except RuntimeError:
            self._failed_evictions += 1
            if self._failed_evictions < EVICTIONS:
                raise
        _abandoned.append(self.instance)
        completion = WorkflowActivationCompletion(run_id=act.run_id)
        completion.successful.SetInParent()
        return completion


def _evicts(act: WorkflowActivation) -> bool:
    return any(job.HasField("remove_from_cache") for job in act.jobs)
