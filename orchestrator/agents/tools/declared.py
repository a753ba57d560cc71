"""Declared tools at work: HTTP requests made of a record's templates; workflows, which only Temporal runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.agents.tools.records import (
    HttpTool,
    ToolRecord,
    check_tool,
    read_tools,
    tool_document,
    tool_sha256,
)
from orchestrator.agents.tools.specs import ToolContext, ToolSpec
from orchestrator.execution.errors_steps import AttemptTimeout
from orchestrator.execution.errors_tools import InvalidToolArguments, ToolFailed
from orchestrator.execution.messages import HttpRequestInput, StepCall
from orchestrator.execution.messages_secrets import SecretSlot, slots_of
from orchestrator.expressions import ExpressionError, compile_template
from orchestrator.stores.tools import ToolStore

SendHttp = Callable[[HttpRequestInput], Awaitable[dict[str, Any]]]
"""Sends one request through the guard; gives `{status, headers, body}`."""


class DeclaredTools:
    """The tools that Redis holds.

    Args:
        store: the records.
        send: the guarded client.
    """

    def __init__(self, store: ToolStore, send: SendHttp) -> None:
        self._store = store
        self._send = send

    async def find(self, name: str) -> ToolSpec | None:
        """Return the tool of this name, None where there is none."""
        record = await self._record(name)
        return None if record is None else record.spec()

    async def list(self) -> Sequence[ToolSpec]:
        """Return all tools, by name."""
        found = [await self.find(name) for name in await self._store.names()]
        return [spec for spec in found if spec is not None]

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Send the tool's request and return its answer's body, or what its `output` makes of the answer.

        Raises:
            StepFailure: as an `api_call` step; `tool-failed` where the record's templates cannot be rendered.
        """
        record = await self._record(spec.name)
        if record is None or record.http is None:
            raise ToolFailed(f"tool '{spec.name}' was taken out of use", retryable=False)
        request = http_request(record.http, arguments, context, spec.name)
        try:
            async with asyncio.timeout(record.timeout_seconds):
                response = await self._send(request)
        except TimeoutError as error:
            raise AttemptTimeout(
                f"tool '{spec.name}' did not answer within timeout_seconds = {record.timeout_seconds:g}",
                details={"kind": "tool"},
            ) from error
        if "output" not in record.http.model_fields_set:
            return response["body"]
        return _rendered(spec.name, record.http.output, {"arguments": arguments, "response": response})

    async def _record(self, name: str) -> ToolRecord | None:
        found = await self._store.find(name)
        return None if found is None else check_tool(found.document)


async def seed_tools(store: ToolStore, folder: Path) -> list[str]:
    """Store a folder's records where their name never existed; returns the new names.

    Raises:
        InvalidTool: the folder or a file in it cannot be used; nothing of it is stored.
    """
    records = await asyncio.to_thread(read_tools, folder)
    created: list[str] = []
    for record in records:
        document = tool_document(record)
        if await store.seed(document, tool_sha256(document)):
            created.append(record.name)
    return created


def http_request(http: HttpTool, arguments: Any, context: ToolContext, name: str) -> HttpRequestInput:
    """Return the request that arguments make of a record's templates.

    Raises:
        InvalidToolArguments: an argument would lead out of the URL's path.
        ToolFailed: a template reads what is not there.
    """
    seen = {"arguments": arguments}
    auth = None if http.auth is None else http.auth.model_dump(mode="json", exclude_unset=True)
    slots: list[SecretSlot] = []
    filled = {
        field: _rendered(name, template, seen, field, slots)
        for field, template in {"headers": http.headers, "query": http.query, "auth": auth}.items()
    }
    return HttpRequestInput(
        call=call_of(context),
        method=http.method,
        url=str(_rendered(name, http.url, {"arguments": _path_safe(arguments, name)})),
        headers=filled["headers"],
        query=filled["query"],
        json_body=_rendered(name, http.json_body, seen),
        has_json="json_body" in http.model_fields_set,
        form=_rendered(name, http.form, seen),
        text=_rendered(name, http.text, seen),
        auth=filled["auth"],
        expect_status=list(http.expect_status),
        secret_slots=slots,
    )


def call_of(context: ToolContext) -> StepCall:
    """Return who calls, as the guarded client's port wants to know."""
    return StepCall(
        execution_id=context.execution_id,
        workflow_id="",
        path=context.step_path,
        step_id=context.step_path,
        idempotency_key=context.idempotency_key,
    )


def _rendered(
    name: str, template: Any, seen: dict[str, Any], field: str = "", slots: list[SecretSlot] | None = None
) -> Any:
    try:
        value, found = compile_template(template).render_with_secrets(seen)
        if slots is not None:
            slots += slots_of(field, found)
        return value
    except ExpressionError as error:
        raise ToolFailed(
            f"tool '{name}': {error.message}",
            hint=error.hint,
            details={"expression_error": error.to_dict()},
            retryable=False,
        ) from error


def _path_safe(value: Any, name: str) -> Any:
    """Return arguments with every text percent-encoded, so that none of them can leave its place in a URL."""
    if isinstance(value, str):
        if value.strip() in (".", ".."):
            message = f"tool '{name}': an argument in its URL is '{value}', which leads to another path"
            raise InvalidToolArguments(message, details={"errors": [message]})
        return quote(value.encode("utf-8", "replace"), safe="")
    if isinstance(value, list):
        return [_path_safe(item, name) for item in value]
    if isinstance(value, dict):
        return {key: _path_safe(item, name) for key, item in value.items()}
    return value
