"""An execution's activations exclude each other, and an eviction that never succeeds is given up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from temporalio.bridge.proto.workflow_activation import (
    RemoveFromCache,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance

from orchestrator.workflows.activations import EVICTIONS, SerialInstance

EVICTION = WorkflowActivation(run_id="run", jobs=[WorkflowActivationJob(remove_from_cache=RemoveFromCache())])


class Instance(WorkflowInstance):
    """One whose workflow task runs until it is let go, and whose tasks never end when it is evicted."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.evictions = 0

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if act.jobs:
            self.evictions += 1
            raise RuntimeError("Eviction processed, but 1 tasks remain")
        self.entered.set()
        self.go_on.wait(60)
        return WorkflowActivationCompletion(run_id="done")

    def get_serialization_context(self, command_info: object) -> None:
        raise NotImplementedError

    get_external_store_context = get_info = get_thread_id = get_serialization_context  # type: ignore[assignment]


def test_an_eviction_waits_for_the_task_that_still_runs() -> None:
    inner = Instance()
    serial = SerialInstance(inner)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(serial.activate, WorkflowActivation())
        assert inner.entered.wait(60)
        with pytest.raises(RuntimeError, match="still running"):
            serial.activate(EVICTION)
        assert inner.evictions == 0
        inner.go_on.set()
        assert running.result(60).run_id == "done"
    with pytest.raises(RuntimeError, match="tasks remain"):
        serial.activate(EVICTION)


def test_an_eviction_that_never_succeeds_gives_the_slot_back() -> None:
    serial = SerialInstance(Instance())
    for _ in range(EVICTIONS - 1):
        with pytest.raises(RuntimeError, match="tasks remain"):
            serial.activate(EVICTION)
    assert serial.activate(EVICTION).HasField("successful")
