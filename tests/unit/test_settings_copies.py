"""Settings that would contradict another part are refused, and copies say what they were changed to."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestrator.execution.beginning import FOREIGN_BYTES
from orchestrator.settings import Settings


def test_a_copy_with_another_redis_forgets_the_address_that_was_read_before() -> None:
    first = Settings(_env_file=None, redis_url="redis://one:1")
    assert first.redis_dsn == "redis://one:1"
    assert first.model_copy(update={"redis_url": "redis://two:2"}).redis_dsn == "redis://two:2"


def test_what_another_task_queue_may_be_sent_is_never_kept_outside_of_the_history() -> None:
    with pytest.raises(ValidationError, match="claim_threshold_bytes"):
        Settings(_env_file=None, claim_threshold_bytes=FOREIGN_BYTES)
    assert Settings(_env_file=None).claim_threshold_bytes > FOREIGN_BYTES
