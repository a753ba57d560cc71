"""The stored definitions that a simulation's children run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.compiler import compile_definition
from orchestrator.definition.models import ChildWorkflow
from orchestrator.execution.messages import ErrorInfo
from orchestrator.expressions import ExpressionError

Key = tuple[str, int | None]
"""A workflow id and a version; None: the latest."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A definition ready to run."""

    compiled: CompiledDefinition
    document: Mapping[str, Any]
    version: int | None


@dataclass(slots=True)
class Library:
    """Definitions by workflow id and version; a start of one that is missing, or known not to start, fails.

    Attributes:
        stored: what can be started.
        refused: why others cannot.
    """

    stored: dict[Key, Pinned] = field(default_factory=dict)
    refused: dict[Key, ErrorInfo] = field(default_factory=dict)

    def add(self, key: Key, document: Mapping[str, Any], version: int | None, sha256: str) -> CompiledDefinition | None:
        """Compile a definition and keep it; None: it does not compile any more, and starts of it fail."""
        try:
            compiled = compile_definition(document, sha256)
        except (ValidationError, ExpressionError) as error:
            message = f"the definition of workflow '{key[0]}' is invalid: {error}"
            self.refused[key] = ErrorInfo(type="invalid-definition", message=message)
            return None
        self.stored[key] = Pinned(compiled, document, version)
        return compiled

    def find(self, key: Key) -> Pinned | ErrorInfo:
        """Return a definition, or why an execution of it does not start."""
        found = self.stored.get(key)
        if found is not None:
            return found
        missing = ErrorInfo(type="workflow-not-found", message=f"there is no workflow '{key[0]}'")
        return self.refused.get(key, missing)

    def ids(self) -> list[str]:
        """Return the ids of the workflows that can be started."""
        return sorted({workflow_id for workflow_id, _ in self.stored})


def children_of(definition: CompiledDefinition) -> list[Key]:
    """Return what a definition's `workflow` steps start, in definition order."""
    models = (step.model for step in definition.steps.values())
    return list(dict.fromkeys((item.workflow_id, item.version) for item in models if isinstance(item, ChildWorkflow)))
