"""The built-in tools: the time, an HTTP request through the guard, a search for texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from orchestrator.agents.tools.declared import SendHttp, call_of
from orchestrator.agents.tools.specs import ToolContext, ToolSpec
from orchestrator.execution.errors_tools import InvalidToolArguments
from orchestrator.execution.messages import HttpRequestInput

BODY_CHARACTERS = 65_536
"""What a model is shown of an answer; a longer one is cut."""


class TextMemory(Protocol):
    """Texts in collections, kept and found by meaning."""

    async def search_texts(
        self, collection: str, query: str, limit: int = 5, filter: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return `{id, score, payload}`, best first."""

    async def remember(self, collection: str, text: str, payload: Mapping[str, Any] | None = None, *, key: str) -> str:
        """Store a text under a key and return its id."""


GET_TIME = ToolSpec(
    "get_time",
    "Tells the present date and time, UTC or in a time zone.",
    {
        "type": "object",
        "properties": {"time_zone": {"type": "string", "description": "IANA name, such as Europe/Berlin"}},
        "additionalProperties": False,
    },
    "builtin",
)
HTTP_REQUEST = ToolSpec(
    "http_request",
    "Sends an HTTP request to a public address and returns its status, content type and body.",
    {
        "type": "object",
        "properties": {
            "method": {"enum": ["GET", "POST"], "default": "GET"},
            "url": {"type": "string", "pattern": "^https?://", "maxLength": 8192},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 50},
            "query": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            "json": {"description": "The body of a POST, any JSON value"},
            "text": {"type": "string", "description": "The body of a POST as plain text"},
        },
        "required": ["url"],
        "additionalProperties": False,
        "not": {"required": ["json", "text"]},
    },
    "builtin",
)
VECTOR_SEARCH = ToolSpec(
    "vector_search",
    "Finds the stored texts of a collection that are nearest in meaning to a query.",
    {
        "type": "object",
        "properties": {
            "collection": {"type": "string", "minLength": 1, "maxLength": 255},
            "query": {"type": "string", "minLength": 1, "maxLength": 8192},
            "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 5},
            "filter": {"type": "object", "description": "Qdrant filter of must, should and must_not"},
        },
        "required": ["collection", "query"],
        "additionalProperties": False,
    },
    "builtin",
)
REMEMBER = ToolSpec(
    "remember",
    "Stores a text in a collection, to be found again by its meaning.",
    {
        "type": "object",
        "properties": {
            "collection": {"type": "string", "minLength": 1, "maxLength": 255},
            "text": {"type": "string", "minLength": 1, "maxLength": 8192},
            "payload": {"type": "object", "description": "What else to keep beside the text"},
        },
        "required": ["collection", "text"],
        "additionalProperties": False,
    },
    "builtin",
)


class BuiltinTools:
    """The tools of the service itself.

    Args:
        send: the guarded client.
        memory: the vector store's texts; None where there are none: `vector_search` and `remember` are not offered
            then.
        now: the present time, aware.
    """

    def __init__(
        self,
        send: SendHttp,
        memory: TextMemory | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._send = send
        self._memory = memory
        self._now = now
        present = [GET_TIME, HTTP_REQUEST] + ([VECTOR_SEARCH, REMEMBER] if memory else [])
        self._specs = {spec.name: spec for spec in present}

    async def find(self, name: str) -> ToolSpec | None:
        """Return the tool of this name, None where there is none."""
        return self._specs.get(name)

    async def list(self) -> Sequence[ToolSpec]:
        """Return all tools, by name."""
        return list(self._specs.values())

    async def call(self, spec: ToolSpec, arguments: Any, context: ToolContext) -> Any:
        """Call one of them.

        Raises:
            StepFailure: as an `api_call` or a `vector_search` step.
        """
        if spec.name == GET_TIME.name:
            return self._time(arguments.get("time_zone"))
        if spec.name == HTTP_REQUEST.name:
            return await self._request(arguments, context)
        assert self._memory is not None
        collection = arguments["collection"]
        if spec.name == REMEMBER.name:
            key, payload = context.idempotency_key, arguments.get("payload")
            return {"id": await self._memory.remember(collection, arguments["text"], payload, key=key)}
        limit, matching = int(arguments.get("limit", 5)), arguments.get("filter")
        return await self._memory.search_texts(collection, arguments["query"], limit, matching)

    def _time(self, zone: str | None) -> dict[str, Any]:
        try:
            where = ZoneInfo(zone) if zone else UTC
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = f"/time_zone: there is no time zone {str(zone)[:100]!r}"
            raise InvalidToolArguments(message, details={"errors": [message]}) from error
        moment = self._now().astimezone(where).replace(microsecond=0)
        return {"time": moment.isoformat(), "time_zone": zone or "UTC", "weekday": f"{moment:%A}"}

    async def _request(self, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
        answer = await self._send(
            HttpRequestInput(
                call=call_of(context),
                method=arguments.get("method", "GET"),
                url=arguments["url"],
                headers=arguments.get("headers", {}),
                query=arguments.get("query", {}),
                json_body=arguments.get("json"),
                has_json="json" in arguments,
                text=arguments.get("text"),
                expect_status=["2xx", "4xx"],
            )
        )
        told = {"status": answer["status"], "content_type": answer["headers"].get("content-type")}
        return {**told, **_bounded(answer["body"])}


def _bounded(body: Any) -> dict[str, Any]:
    """Return the body as a model is shown it, cut where it is long."""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    if len(text) <= BODY_CHARACTERS:
        return {"body": body}
    return {"body": text[:BODY_CHARACTERS], "truncated": True, "characters": len(text)}
