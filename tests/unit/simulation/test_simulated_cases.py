"""The simulator gives every interpreter case, and every example, the outcome that Temporal gives it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cases import Case, load_cases
from tests.support.commands import ROOT
from tests.support.examples import load_examples
from tests.support.simulated import play_simulated, simulated

CASES = load_cases(ROOT / "tests" / "workflow" / "cases")
EXAMPLES = load_examples()
LOOKS_BETWEEN = {case.name for case in CASES if any("not_called_yet" in item for item in case.data.get("messages", []))}


@pytest.mark.parametrize("case", [*CASES, *EXAMPLES], ids=lambda case: case.name)
def test_a_case_ends_in_a_simulation_as_on_temporal(case: Case) -> None:
    play_simulated(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in LOOKS_BETWEEN], ids=lambda case: case.name)
def test_a_step_that_must_not_run_yet_runs_after_the_next_message(case: Case) -> None:
    report, sent, when = simulated(case), 0, 0.0
    first = {call.path: call.at_seconds for call in reversed(report.calls)}
    for message in case.data["messages"]:
        if "not_called_yet" in message:
            moment = when + message.get("after_seconds", 0)
            assert first[message["not_called_yet"]] >= moment
        else:
            when = report.messages[sent].at_seconds or 0.0
            sent += 1


def test_what_only_a_run_on_temporal_shows_is_left_out_by_name() -> None:
    keys: dict[str, Any] = {case.name: case.data["expect"] for case in CASES}
    # The fields of the message to an activity, such as the places of secrets in it.
    assert sorted(name for name, expect in keys.items() if "requests" in expect) == [
        "a-tool-call-is-rendered",
        "secrets-are-slots",
    ]
