"""Copies of settings say what they were changed to."""

from __future__ import annotations

from orchestrator.settings import Settings


def test_a_copy_with_another_redis_forgets_the_address_that_was_read_before() -> None:
    first = Settings(_env_file=None, redis_url="redis://one:1")
    assert first.redis_dsn == "redis://one:1"
    assert first.model_copy(update={"redis_url": "redis://two:2"}).redis_dsn == "redis://two:2"
