"""A workflow runner around another one, and its instances: what a wrapper does not change is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowRunner
from temporalio.workflow import Info

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion


class WrappedRunner(WorkflowRunner):
    """Runs workflows as another runner does, but for what a subclass makes of its instances.

    Args:
        runner: runs the workflows.
    """

    def __init__(self, runner: WorkflowRunner) -> None:
        self.runner = runner

    def prepare_workflow(self, defn: object) -> None:
        """Prepare a workflow for executions."""
        self.runner.prepare_workflow(defn)  # type: ignore[arg-type]

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        """Pass on what fails an execution."""
        self.runner.set_worker_level_failure_exception_types(types)


class WrappedInstance(WorkflowInstance):
    """One execution.

    Args:
        instance: runs it.
    """

    def __init__(self, instance: WorkflowInstance) -> None:
        self.instance = instance

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Play an activation."""
        return self.instance.activate(act)

    def get_serialization_context(self, command_info: object) -> SerializationContext | None:
        """Ask the instance."""
        return self.instance.get_serialization_context(command_info)  # type: ignore[arg-type]

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        """Ask the instance."""
        return self.instance.get_external_store_context(command_info)  # type: ignore[arg-type]

    def get_info(self) -> Info:
        """Ask the instance."""
        return self.instance.get_info()

    def get_thread_id(self) -> int | None:
        """Ask the instance."""
        return self.instance.get_thread_id()
