"""The servers of a test session: one that ended is named, and stands again with its data."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
from redis import Redis

from orchestrator.embedded.process import ProcessSpec
from tests.support.polling import wait_for
from tests.support.servers import redis_server
from tests.support.standing_servers import revive, standing


def _pid(url: str) -> int:
    with Redis.from_url(url) as redis:
        return int(redis.info("server")["process_id"])


def test_a_server_that_ended_is_named_and_stands_again(tmp_path: Path) -> None:
    with standing(lambda: redis_server(tmp_path)) as url:
        with Redis.from_url(url) as redis:
            redis.set("kept", "1")
            redis.waitaof(1, 0, 10_000)
        assert revive() == []
        pid = _pid(url)
        os.kill(pid, signal.SIGKILL)
        named: list[str] = []

        def ended() -> bool:
            named.extend(revive())
            return bool(named)

        wait_for(ended, what="the server's end")
        assert [name.partition(" ended with status -9")[0] for name in named] == ["redis"]
        assert _pid(url) != pid
        with Redis.from_url(url) as redis:
            assert redis.get("kept") == b"1"
    assert not psutil.pid_exists(pid)


def test_a_server_that_does_not_start_is_tried_again(tmp_path: Path) -> None:
    commands = iter([["/bin/false"], []])

    def make() -> tuple[ProcessSpec, str]:
        spec, url = redis_server(tmp_path)
        return replace(spec, argv=next(commands) or spec.argv), url

    with standing(make) as url:
        assert _pid(url)
