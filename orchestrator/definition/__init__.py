"""What a workflow definition may say: models, validation, canonical form and hash, JSON Schema. Pure code."""

from orchestrator.definition.canonical import canonical_json, canonical_sha256, derive_workflow_id
from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep
from orchestrator.definition.compiler import compile_definition
from orchestrator.definition.issues import Issue
from orchestrator.definition.json_schema import workflow_json_schema
from orchestrator.definition.validation import Validation, validate_definition

__all__ = [
    "CompiledDefinition",
    "CompiledScope",
    "CompiledStep",
    "Issue",
    "Validation",
    "canonical_json",
    "canonical_sha256",
    "compile_definition",
    "derive_workflow_id",
    "validate_definition",
    "workflow_json_schema",
]
