"""How often an activity beats."""

from __future__ import annotations

import pytest

from activities.heartbeat import MOST_BEATS_PER_SECOND, USUAL_INTERVAL_SECONDS, heartbeat_interval


def test_few_activities_beat_at_the_usual_interval() -> None:
    assert heartbeat_interval(1, None) == heartbeat_interval(100, 60) == USUAL_INTERVAL_SECONDS


def test_many_activities_beat_less_often_so_that_a_worker_sends_no_more_in_all() -> None:
    running = int(MOST_BEATS_PER_SECOND * 3)
    assert running / heartbeat_interval(running, None) == pytest.approx(MOST_BEATS_PER_SECOND)


@pytest.mark.parametrize("running", [1, 100_000])
@pytest.mark.parametrize("timeout", [None, 1.5, 10.0, 600.0])
def test_an_activity_beats_three_times_within_its_timeout_and_hears_of_a_cancel_in_time(
    running: int, timeout: float | None
) -> None:
    interval = heartbeat_interval(running, timeout)
    assert interval < 5
    assert timeout is None or 3 * interval <= timeout
