"""Conversations over REST."""

from __future__ import annotations

from orchestrator.agents.records import MemoryRecord
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.sessions import SessionStore
from tests.support.api_server import problem_in, running_api


async def test_a_session_is_read_and_forgotten(isolated_settings: Settings) -> None:
    redis = connect_redis(isolated_settings)
    store = SessionStore(redis, isolated_settings.redis_key_prefix)
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    await store.append("customer-42", "k", messages, MemoryRecord())
    await redis.aclose()
    async with running_api(isolated_settings) as client:
        found = (await client.get("/sessions/customer-42")).json()
        assert (found["session_id"], found["messages"], found["summary"]) == ("customer-42", messages, None)
        assert found["expires_at"] > found["updated_at"] >= found["created_at"]
        assert (await client.delete("/sessions/customer-42")).status_code == 204
        problem_in(await client.get("/sessions/customer-42"), 404, "session-not-found")
        problem_in(await client.delete("/sessions/customer-42"), 404, "session-not-found")
        problem_in(await client.get("/sessions/no%20id"), 422, "invalid-request")
