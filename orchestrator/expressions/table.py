"""All functions of version 1, by name."""

from __future__ import annotations

from orchestrator.expressions.functions import Function
from orchestrator.expressions.functions_dates import DATE_FUNCTIONS
from orchestrator.expressions.functions_json import JSON_FUNCTIONS
from orchestrator.expressions.functions_lists import LIST_FUNCTIONS
from orchestrator.expressions.functions_numbers import NUMBER_FUNCTIONS
from orchestrator.expressions.functions_objects import OBJECT_FUNCTIONS
from orchestrator.expressions.functions_patterns import PATTERN_FUNCTIONS
from orchestrator.expressions.functions_text import TEXT_FUNCTIONS

FUNCTIONS: dict[str, Function] = {
    **LIST_FUNCTIONS,
    **OBJECT_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **PATTERN_FUNCTIONS,
    **NUMBER_FUNCTIONS,
    **JSON_FUNCTIONS,
    **DATE_FUNCTIONS,
}
