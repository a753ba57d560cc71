"""Compiled definitions by hash, so that a definition is parsed once per process and not once per replay."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.compiler import compile_definition

CAPACITY = 256

_lock = threading.Lock()
_compiled: OrderedDict[str, CompiledDefinition] = OrderedDict()


def compiled(document: Mapping[str, Any], sha256: str) -> CompiledDefinition:
    """Return the compiled definition; the only module state that workflow code touches.

    Args:
        document: the definition's JSON.
        sha256: its canonical hash.

    Raises:
        pydantic.ValidationError: the document is no definition.
        ExpressionError: an expression does not compile.
    """
    with _lock:
        found = _compiled.get(sha256)
        if found is not None:
            _compiled.move_to_end(sha256)
            return found
    fresh = compile_definition(document, sha256)
    with _lock:
        _compiled[sha256] = fresh
        while len(_compiled) > CAPACITY:
            _compiled.popitem(last=False)
    return fresh
