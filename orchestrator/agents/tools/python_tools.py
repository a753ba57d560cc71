"""Tools in Python: functions whose type hints are their schema, registered by entry point or by hand."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any, overload

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from orchestrator.agents.answers import DEEPEST_ANSWER, too_deep
from orchestrator.agents.prompts import sane_json
from orchestrator.agents.tools.specs import TOOL_NAME_PATTERN, ToolContext, ToolSpec
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import InvalidTool, InvalidToolArguments, ToolBadResult, ToolFailed

log = structlog.get_logger(__name__)

ENTRY_POINT_GROUP = "orchestrator.tools"
THREADS = 32
"""Synchronous tools that run at once; a call that outlives its timeout keeps its thread until it returns."""


@dataclass(frozen=True, slots=True)
class PythonTool:
    """A function that may be called as a tool, and what is known of its arguments."""

    spec: ToolSpec
    function: Callable[..., Any]
    model: type[BaseModel]
    context_name: str | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were not a tool."""
        return self.function(*args, **kwargs)


@overload
def tool(function: Callable[..., Any], /) -> PythonTool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    requires_approval: bool = False,
    timeout_seconds: float | None = None,
) -> Callable[[Callable[..., Any]], PythonTool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    requires_approval: bool = False,
    timeout_seconds: float | None = None,
) -> PythonTool | Callable[[Callable[..., Any]], PythonTool]:
    """Make a tool of a function; its docstring describes it, its type hints are the schema of its arguments.

    A parameter annotated with `ToolContext` is given by the service and is not part of the schema. A function that is
    not `async` runs in a thread.

    Args:
        function: where the decorator stands without arguments.
        name: the tool's name; the function's by default.
        description: what models are told; the first paragraph of the docstring by default.
        requires_approval: people must agree to every call that a model asks for.
        timeout_seconds: what one call may take; by default what who calls it gives it, in an agent's loop a minute.

    Raises:
        InvalidTool: a parameter has no type hint, or one that JSON cannot carry.
    """

    def decorate(target: Callable[..., Any]) -> PythonTool:
        found = _python_tool(target, name, description)
        own = replace(found.spec, requires_approval=requires_approval, timeout_seconds=timeout_seconds)
        return replace(found, spec=own)

    return decorate if function is None else decorate(function)


class PythonTools:
    """The Python tools of this process."""

    def __init__(self) -> None:
        self._tools: dict[str, PythonTool] = {}
        self._threads: ThreadPoolExecutor | None = None

    def register(self, found: PythonTool | Callable[..., Any]) -> ToolSpec:
        """Make a function callable as a tool; registering a name again replaces it.

        Raises:
            InvalidTool: it cannot be a tool.
        """
        item = found if isinstance(found, PythonTool) else tool(found)
        self._tools[item.spec.name] = item
        return item.spec

    def forget(self, name: str) -> None:
        """Remove a tool, if there is one."""
        self._tools.pop(name, None)

    def load(self) -> list[str]:
        """Register what installed packages offer under `orchestrator.tools`: a function, or a list of them.

        Raises:
            InvalidTool: an entry point does not load, or names no tool.
        """
        names: list[str] = []
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            try:
                loaded = entry.load()
            except Exception as error:
                raise InvalidTool(f"entry point '{entry.name}' ({entry.value}) does not load: {error}") from error
            several = loaded if isinstance(loaded, Iterable) else [loaded]
            names += [self.register(item).name for item in several]
        return names

    async def find(self, name: str) -> ToolSpec | None:
        """Return the tool of this name, None where there is none."""
        found = self._tools.get(name)
        return None if found is None else found.spec

    async def list(self) -> Sequence[ToolSpec]:
        """Return all tools, by name."""
        return [self._tools[name].spec for name in sorted(self._tools)]

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Call the function; it may be called again for the same step, with the same `context.idempotency_key`.

        Raises:
            OrchestratorError: a leaf of the tree, whatever the function raised.
        """
        found = self._tools[spec.name]
        given = _typed(found, arguments)
        if found.context_name is not None:
            given[found.context_name] = context
        try:
            async with asyncio.timeout(spec.timeout_seconds):
                result = await self._run(found.function, given)
        except OrchestratorError:
            raise
        except TimeoutError as error:
            message = f"tool '{spec.name}': {error or 'it took too long'}"
            raise AttemptTimeout(message, details={"kind": "tool"}) from error
        except Exception as error:
            log.exception("a tool raised", tool=spec.name, execution_id=context.execution_id)
            raise ToolFailed(
                f"tool '{spec.name}' raised {type(error).__name__}: {error}",
                details={"exception": type(error).__name__},
                retryable=True,
            ) from error
        return json_result(spec.name, result)

    async def _run(self, function: Callable[..., Any], given: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(**given)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tool")
        bound = functools.partial(contextvars.copy_context().run, functools.partial(function, **given))
        result = await asyncio.get_running_loop().run_in_executor(self._threads, bound)
        return await result if inspect.isawaitable(result) else result


python_tools = PythonTools()
"""The process's Python tools; workers fill it from the entry points."""


def json_result(name: str, result: Any) -> Any:
    """Return a tool's result as JSON.

    Raises:
        ToolBadResult: it is none.
    """
    try:
        # Names have to be sane before, what models hold can be made so only after.
        value = sane_json(to_jsonable_python(sane_json(result), inf_nan_mode="constants"))
        json.dumps(value, allow_nan=False)
        if too_deep(value):
            raise ValueError(f"it is nested deeper than {DEEPEST_ANSWER}")
        return orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError, RecursionError, PydanticSerializationError) as error:
        raise ToolBadResult(
            f"tool '{name}' returned what is not JSON: {error}",
            hint="return models, dicts with text keys, lists, texts, finite numbers, booleans or None",
        ) from error


def _python_tool(function: Callable[..., Any], name: str | None, description: str | None) -> PythonTool:
    if not callable(function):
        raise InvalidTool(f"{function!r} is no function", hint="decorate a function with @tool")
    chosen = name or str(getattr(function, "__name__", ""))
    if not re.fullmatch(TOOL_NAME_PATTERN, chosen):
        raise InvalidTool(f"'{chosen}' is no name for a tool: it matches {TOOL_NAME_PATTERN}", hint='@tool(name="…")')
    told = description or (inspect.getdoc(function) or "").split("\n\n")[0]
    if not told.strip():
        raise InvalidTool(f"tool '{chosen}' has no description", hint="write a docstring: models choose tools by it")
    fields, context_name = _fields(function, chosen)
    try:
        model: type[BaseModel] = create_model(chosen, __config__=ConfigDict(extra="forbid"), **fields)
        parameters = _schema(model)
    except Exception as error:
        raise InvalidTool(f"tool '{chosen}': its parameters have no JSON Schema: {error}") from error
    spec = ToolSpec(chosen, " ".join(told.split()), parameters, "python")
    return PythonTool(spec, function, model, context_name)


def _fields(function: Callable[..., Any], name: str) -> tuple[dict[str, Any], str | None]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidTool(f"tool '{name}': a type hint cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    context_name = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidTool(f"tool '{name}': '{parameter}' has no name that a model could give")
        if parameter.name not in hints:
            raise InvalidTool(f"tool '{name}': parameter '{parameter.name}' has no type hint")
        if hints[parameter.name] is ToolContext:
            context_name = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return fields, context_name


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    return {"type": "object", "properties": {}, **schema}


def _typed(found: PythonTool, arguments: Any) -> dict[str, Any]:
    try:
        model = found.model.model_validate_json(orjson.dumps(arguments))
    except ValidationError as error:
        errors = [
            f"/{'/'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidToolArguments(
            f"the arguments of tool '{found.spec.name}' are refused: {errors[0]}", details={"errors": errors}
        ) from error
    return {name: getattr(model, name) for name in type(model).model_fields}
