"""The expression language, version 1: total, metered, free of host objects."""

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.expression import Expression, compile_expression, evaluate
from orchestrator.expressions.limits import Limits
from orchestrator.expressions.meter import Host, Json, Meter
from orchestrator.expressions.parts import SecretRef, SecretSlot
from orchestrator.expressions.references import Reference, check_references
from orchestrator.expressions.suggestions import suggest
from orchestrator.expressions.template import (
    Template,
    collect_template_errors,
    compile_template,
    render,
)

__all__ = [
    "Expression",
    "ExpressionError",
    "Host",
    "Json",
    "Limits",
    "Meter",
    "Reference",
    "SecretRef",
    "SecretSlot",
    "Template",
    "check_references",
    "collect_template_errors",
    "compile_expression",
    "compile_template",
    "evaluate",
    "render",
    "suggest",
]
