"""Start inputs that other people's clients send: one that cannot be read fails its execution, not its task for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails

from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.workflows.wrapping import WrappedInstance, WrappedRunner

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

UNREADABLE = "unreadable_start"
"""The one field of what an execution is given in the place of a start input that cannot be read: why it cannot."""
ENCRYPTED = b"binary/encrypted"
"""The encoding of what a payload codec encrypted; it is read as soon as the worker has its key."""
LONGEST_REASON = 300


class ReadableStarts(WrappedRunner):
    """Runs workflows as another runner does, and tells an execution that its start input cannot be read.

    The SDK decodes a start input before any code of the workflow runs, and takes a failure of that for one of the
    worker, which a later version may not have. Most such failures are not: JSON that is broken stays broken.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return what runs one execution."""
        if det.info.workflow_type != WORKFLOW_TYPE:
            return self.runner.create_instance(det)
        return _Instance(self.runner.create_instance(det), det)


class _Instance(WrappedInstance):
    def __init__(self, instance: WorkflowInstance, details: WorkflowInstanceDetails) -> None:
        super().__init__(instance)
        self._details = details

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = super().activate(act)
        if completion.HasField("failed") and self._made_readable(act):
            # It failed before any code of the workflow ran, and is as it was.
            completion = super().activate(act)
        return completion

    def _made_readable(self, act: WorkflowActivation) -> bool:
        """Put the reason into the place of arguments that cannot be read; say whether there were any."""
        for job in act.jobs:
            if job.HasField("initialize_workflow"):
                arguments = job.initialize_workflow.arguments
                converter = self._details.payload_converter_factory()
                reason = unreadable(arguments, converter)
                if reason is not None:
                    del arguments[:]
                    arguments.extend(converter.to_payloads([{UNREADABLE: reason}]))
                    return True
        return False


def unreadable(arguments: Sequence[Payload], converter: PayloadConverter) -> str | None:
    """Return why arguments cannot be read, by this worker nor by any other; None where they can, or may be.

    Args:
        arguments: after codec and claim store.
        converter: the worker's.
    """
    for payload in arguments:
        encoding = payload.metadata.get("encoding", b"")
        if payload.external_payloads or encoding.startswith(ENCRYPTED):
            # The worker lacks a key or the claim store: a mistake that somebody can mend.
            return None
    for payload in arguments:
        try:
            converter.from_payloads([payload])
        except Exception as error:
            encoding = payload.metadata.get("encoding", b"")
            told = f"its encoding is '{encoding[:100].decode('ascii', 'replace')}': {error}"
            return told.encode("utf-8", "replace").decode()[:LONGEST_REASON]
    return None
