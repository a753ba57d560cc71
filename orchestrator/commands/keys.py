"""`orchestrator keys`: API keys over REST, or directly in Redis, which is how the first one is made."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from rich.markup import escape
from rich.table import Table

from orchestrator.commands.address import connect
from orchestrator.commands.outcome import OK, UNREACHABLE, USAGE, CommandError, err, out
from orchestrator.execution.errors import OrchestratorError, RedisUnavailable
from orchestrator.settings import discover_settings
from orchestrator.stores.api_keys import NAME_PATTERN, ApiKey, ApiKeys, Role
from orchestrator.stores.redis import connect_redis

T = TypeVar("T")


def create(name: str, role: Role, days: int | None, *, api: str | None, direct: bool, as_json: bool) -> int:
    """Make a key and print it, this once."""
    if not re.match(NAME_PATTERN, name):
        raise CommandError(f"'{name}' is no name for a key: letters, digits and . _ @ -, at most 100", USAGE)
    if direct:
        lifetime = timedelta(days=days) if days else None
        key, token = _directly(lambda keys: keys.create(name, role, created_by="command line", lifetime=lifetime))
        document: Mapping[str, Any] = {**_document(key), "key": token}
    else:
        with connect(api) as client:
            document = client.create_key(name, role, expires_in_days=days)
    if as_json:
        out.print_json(json.dumps(document))
        return OK
    err.print(f"The key of [bold]{escape(name)}[/], role {role}; it is shown this once:")
    out.print(escape(document["key"]))
    return OK


def show(*, api: str | None, direct: bool, as_json: bool) -> int:
    """List the keys."""
    if direct:
        items: Sequence[Mapping[str, Any]] = [_document(key) for key in _directly(lambda keys: keys.list())]
    else:
        with connect(api) as client:
            items = list(client.iter_keys(limit=200))
    if as_json:
        out.print_json(json.dumps({"items": items}))
        return OK
    table = Table("id", "name", "role", "state", "created", "by", "expires")
    for item in items:
        moments = [str(item[field] or "")[:10] for field in ("created_at", "expires_at")]
        row = [item["key_id"], item["name"], item["role"], item["state"], moments[0], item["created_by"], moments[1]]
        table.add_row(*map(escape, row))
    out.print(table)
    return OK


def revoke(key_id: str, *, api: str | None, direct: bool, as_json: bool) -> int:
    """Revoke a key for ever."""
    if direct:
        document: Mapping[str, Any] = _document(_directly(lambda keys: keys.revoke(key_id)))
    else:
        with connect(api) as client:
            document = client.revoke_key(key_id)
    if as_json:
        out.print_json(json.dumps(document))
    else:
        out.print(f"The key {escape(key_id)} of {escape(document['name'])} opens nothing any more.")
    return OK


def _directly(call: Callable[[ApiKeys], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = discover_settings()
        async with connect_redis(settings) as redis:
            return await call(ApiKeys(redis, settings))

    try:
        return asyncio.run(run())
    except OrchestratorError as error:
        code = UNREACHABLE if isinstance(error, RedisUnavailable) else 1
        raise CommandError(f"{error.message}{f' ({error.hint})' if error.hint else ''}", code) from error


def _document(key: ApiKey) -> dict[str, Any]:
    moments = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "role": key.role,
        "state": key.state,
        "created_by": key.created_by,
        **{field: moment.isoformat() if moment else None for field, moment in moments.items()},
    }
