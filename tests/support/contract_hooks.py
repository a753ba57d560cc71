"""What Schemathesis loads for its runs against the contract (`SCHEMATHESIS_HOOKS`)."""

from __future__ import annotations

import ast
import threading
from typing import Any

import schemathesis

LONGEST_WAIT_SECONDS = 2
_WAITING = {"execute_workflow", "invoke_agent"}
_turn = threading.RLock()
_parse = ast.parse


def _parse_in_turn(*given: Any, **named: Any) -> Any:
    # Python 3.11 counts the depth of syntax trees for all threads together: two that parse at once, as Hypothesis does
    # to describe lambdas, fail with "AST constructor recursion depth mismatch" (cpython #106905).
    with _turn:
        return _parse(*given, **named)


ast.parse = _parse_in_turn


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Let no synchronous start wait for minutes, as it may: an execution may wait for a person for ever."""
    if case.operation.definition.raw.get("operationId") not in _WAITING or not isinstance(case.body, dict):
        return
    if case.body.get("async_execution") is False:
        asked = case.body.get("wait_seconds", LONGEST_WAIT_SECONDS)
        # What is too long by the contract stays so: it has to be refused.
        if isinstance(asked, int | float) and LONGEST_WAIT_SECONDS < asked <= 300:
            case.body["wait_seconds"] = LONGEST_WAIT_SECONDS
        case.body.setdefault("wait_seconds", LONGEST_WAIT_SECONDS)
