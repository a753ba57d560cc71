"""How many failures a foreach and a parallel bear, and what they leave."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, agent, document, foreach, parallel, value


def failing(count: int) -> Any:
    """Return a script in which the first so many items or branches fail, one after the other."""

    def play(path: str, begin: int) -> Play:
        number = int(path.partition(".")[0].strip("f[]") or 0) if path.startswith("f") else int(path[-1])
        return Play(seconds=1 + number, result=number, error="boom" if number < count else None)

    return play


@pytest.mark.parametrize(
    ("tolerate", "items", "failures", "fine"),
    [
        (None, 4, 0, True),
        (None, 4, 1, False),
        ({}, 4, 1, False),
        ({"count": 2}, 4, 2, True),
        ({"count": 2}, 4, 3, False),
        ({"percent": 50}, 4, 2, True),
        ({"percent": 50}, 4, 3, False),
        ({"percent": 50}, 5, 2, True),
        ({"percent": 50}, 5, 3, False),
        ({"percent": 100}, 3, 3, True),
        ({"count": 1, "percent": 100}, 3, 1, True),
        ({"count": 1, "percent": 100}, 3, 2, False),
        ({"count": 3, "percent": 34}, 3, 1, True),
        ({"count": 3, "percent": 34}, 3, 2, False),
    ],
)
def test_a_foreach_bears_as_many_failures_as_it_tolerates(tolerate: Any, items: int, failures: int, fine: bool) -> None:
    block = foreach("f", f"range(0, {items})", agent("x"), item_output="{{ steps.x.output }}")
    if tolerate is not None:
        block["tolerate"] = tolerate
    driver = MachineDriver(document(block), failing(failures)).run()
    assert driver.state.outcome == ("completed" if fine else "failed")
    record = driver.state.scopes[""].steps["f"]
    if fine:
        assert driver.state.output == {"f": [None] * failures + list(range(failures, items))}
        assert [item["index"] for item in record.errors] == list(range(failures))
    else:
        assert driver.error_type() == "boom"


@pytest.mark.parametrize(
    ("complete_when", "failures", "error", "ended_at"),
    [
        ("all", 0, None, 4.0),
        ("all", 1, "boom", 1.0),
        ("any", 0, None, 1.0),
        ("any", 3, None, 4.0),
        ("any", 4, "join-unmet", 4.0),
        ({"at_least": 2}, 0, None, 2.0),
        ({"at_least": 2}, 2, None, 4.0),
        ({"at_least": 2}, 3, "join-unmet", 3.0),
        ("settled", 4, None, 4.0),
        ("settled", 0, None, 4.0),
    ],
)
def test_a_parallel_is_decided_as_soon_as_it_can_be(
    complete_when: Any, failures: int, error: str | None, ended_at: float
) -> None:
    branches: dict[str, Any] = {f"b{number}": [agent(f"x{number}")] for number in range(4)}
    driver = MachineDriver(document(parallel("p", complete_when, **branches)), failing(failures)).run()
    assert driver.error_type() == error
    assert driver.elapsed == ended_at
    if error == "join-unmet":
        assert driver.state.error is not None
        assert driver.state.error.cause is not None
        assert driver.state.error.cause.type == "boom"


def test_branches_merge_their_variables_in_definition_order_and_losers_do_not() -> None:
    def sets(number: int) -> Any:
        return {"step_id": f"s{number}", "step_type": "assign", "values": {"v": number, f"v{number}": "{{ vars.v }}"}}

    branches: dict[str, Any] = {
        f"b{number}": [sets(number), agent(f"x{number}", depends_on=[f"s{number}"])] for number in range(3)
    }
    steps = [parallel("p", "settled", **branches), value("after", "{{ vars.v }}", depends_on=["p"])]
    script: dict[str, list[Play]] = {"p.x0": [Play(seconds=9)], "p.x1": [Play(seconds=1)], "p.x2": [BOOM]}
    driver = MachineDriver(document(*steps, vars={"v": 100}), script).run()
    assert driver.state.vars == {"v": 1, "v0": 100, "v1": 100}
    assert driver.state.output == {"after": 1}
    assert list(driver.state.scopes[""].steps["p"].errors) == ["b2"]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_items_are_open_than_max_concurrency(most: int) -> None:
    block = foreach("f", "range(0, 5)", agent("x"), agent("y"), max_concurrency=most)
    assert MachineDriver(document(block)).run().most_in_flight == 2 * most


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_activities_are_in_flight_than_the_document_allows(most: int) -> None:
    steps = [foreach("f", "range(0, 4)", agent("x")), *(agent(f"s{number}") for number in range(4))]
    driver = MachineDriver(document(*steps, limits={"max_parallel_steps": most})).run()
    assert driver.most_in_flight == most
    assert len(driver.order) == 8
