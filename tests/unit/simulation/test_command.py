"""`orchestrator test`: definition tests from files, their differences, and reports for CI."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from orchestrator import cli
from tests.support.commands import ROOT

FLOW: dict[str, Any] = {
    "workflow_id": "pay",
    "input_schema": {"type": "object", "required": ["amount"]},
    "steps": [
        {"step_id": "charge", "step_type": "api_call", "url": "https://far.example.com/", "json": "{{ input }}"},
        {"step_id": "rest", "step_type": "wait", "seconds": 3600, "depends_on": ["charge"]},
        {"step_id": "thank", "step_type": "transform", "value": 1, "when": "input.amount > 9", "depends_on": ["rest"]},
    ],
    "output": "{{ steps.charge.output }}",
}
TEST: dict[str, Any] = {"workflow": "pay", "input": {"amount": 1}, "mocks": {"charge": {"output": "c-1"}}}
ALL = {
    "status": "completed",
    "output": "c-1",
    "states": {"charge": "completed", "thank": "skipped"},
    "path": ["charge", "rest"],
    "skipped": ["thank"],
    "calls": {"charge": 1},
    "attempts": {"charge": 1},
    "asked": {"charge": {"amount": 1}},
    "order": [["charge", "charge"]],
    "cancelled": [],
    "unmocked": [],
    "most_in_flight": 1,
    "virtual_seconds": 3600,
    "ledger": {},
}
OTHERWISE: dict[str, Any] = {
    "status": "failed",
    "output": "c-2",
    "states": {"thank": "completed"},
    "path": ["rest"],
    "skipped": [],
    "calls": {"charge": 2},
    "attempts": {"charge": 2},
    "asked": {"charge": {"amount": 2}},
    "order": [["charge", "thank"]],
    "cancelled": ["charge"],
    "unmocked": ["charge"],
    "most_in_flight": 0,
    "virtual_seconds": 3599,
    "ledger": {"model_calls": 1},
    "error": {"type": "timeout"},
}


@dataclass
class Told:
    code: int
    out: str
    err: str


class Command:
    """Runs `orchestrator test` on a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        self.write("flows/pay.json", FLOW)

    def write(self, name: str, value: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))

    def __call__(self, *arguments: str | Path) -> Told:
        asked = [str(item) for item in arguments or (self.folder,)]
        self._monkeypatch.setattr(sys, "argv", ["orchestrator", "test", *asked])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = self._capsys.readouterr()
        return Told(ended.value.code if isinstance(ended.value.code, int) else 0, captured.out, captured.err)

    def one(self, **changes: Any) -> Told:
        self.write("pay.test.json", {**TEST, **changes})
        return self()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, monkeypatch, capsys)


def test_every_example_passes(run: Command) -> None:
    told = run(ROOT / "examples")
    assert (told.code, "0 failed" in told.out) == (0, True)
    assert told.out.count("passed ") > 20


def test_a_test_that_holds_passes_and_tells_the_time_it_skipped(run: Command) -> None:
    told = run.one(expect=ALL)
    assert told.code == 0, told.out
    assert "passed pay 3600 s skipped" in told.out


@pytest.mark.parametrize("key", OTHERWISE)
def test_each_expectation_can_fail_and_says_what_it_got(run: Command, key: str) -> None:
    told = run.one(expect={key: OTHERWISE[key]})
    assert told.code == 1
    assert f"       {key}" in told.out
    assert "expected" in told.out
    assert "path: charge → rest" in told.out


def _items_flow(run: Command, expect: dict[str, Any]) -> Told:
    call = {"step_id": "send", "step_type": "api_call", "url": "https://far.example.com/", "retry": {"max_attempts": 2}}
    route = {"step_id": "route", "step_type": "switch", "cases": [{"when": "true", "steps": [call]}]}
    each = {"step_id": "each", "step_type": "foreach", "items": [1, 2], "steps": [route], "item_output": 1}
    run.write("flows/items.json", {"workflow_id": "items", "steps": [each]})
    busy = {"error": {"type": "http-503", "message": "busy"}}
    mocks = {"each[0].route.send": [busy, {"output": 1}], "send": {"output": 1}}
    run.write("items.test.json", {"workflow": "items", "mocks": mocks, "expect": expect})
    return run()


@pytest.mark.parametrize(
    "calls",
    [
        {"send": 3},
        {"each.route.send": 3},
        {"each[0].route.send": 2, "send": 1},
        {"each[0].route.send": 2, "each[1].route.send": 1},
    ],
)
def test_calls_are_counted_by_the_names_that_mocks_have(run: Command, calls: dict[str, int]) -> None:
    told = _items_flow(run, {"calls": calls})
    assert told.code == 0, told.out


def test_calls_that_no_name_covers_are_told(run: Command) -> None:
    told = _items_flow(run, {"calls": {"each[0].route.send": 2}})
    assert (told.code, '"each[1].route.send": 1' in told.out) == (1, True)


def test_attempts_of_steps_in_items_that_ended_are_known(run: Command) -> None:
    told = _items_flow(run, {"attempts": {"each[0].route.send": 2, "each[1].route.send": 1}})
    assert told.code == 0, told.out


def test_a_path_that_does_not_exist_is_told_with_what_was_meant(run: Command) -> None:
    told = _items_flow(run, {"attempts": {"each[0].send": 2}})
    assert (told.code, "did you mean 'each[0].route.send'?" in told.out) == (1, True)


def test_an_error_is_compared_by_its_parts(run: Command) -> None:
    mocks = {"charge": {"error": {"type": "http-409", "message": "a twin", "retryable": False}}}
    fits = {"status": "failed", "error": {"type": "http-409", "step": "charge", "message_has": "twin"}}
    assert run.one(mocks=mocks, expect=fits).code == 0
    told = run.one(mocks=mocks, expect={**fits, "error": {"message_has": "brother", "cause_type": "x", "step": "y"}})
    assert [line in told.out for line in ("error.message", "error.cause.type", "error.step")] == [True] * 3


def test_a_failure_that_nobody_expected_is_told(run: Command) -> None:
    told = run.one(mocks={"charge": {"error": {"type": "http-409", "retryable": False}}})
    assert 'status: expected "completed", got "failed"' in told.out
    assert "the execution's error: http-409" in told.out


def test_a_message_that_nobody_took_fails_the_test(run: Command) -> None:
    told = run.one(messages=[{"send": "approve", "path": "charge"}])
    assert told.code == 1
    assert "messages[0] (approve) was never taken" in told.out


def test_a_workflow_is_named_by_path_too_and_several_tests_share_a_file(run: Command) -> None:
    run.write("in.json", {"amount": 10})
    big = {"name": "big", "workflow": "flows/pay.json", "input_file": "in.json", "expect": {"skipped": []}}
    run.write("pay.test.json", [{**TEST, "name": "small", "expect": {"skipped": ["thank"]}}, big])
    told = run()
    assert told.code == 0, told.out
    assert [line for line in ("passed pay: small", "passed pay: big") if line in told.out] == [
        "passed pay: small",
        "passed pay: big",
    ]
    assert "1 passed" in run(run.folder, "--only", "big").out


def test_children_run_from_the_definitions_beside(run: Command) -> None:
    step = {"step_id": "kid", "step_type": "workflow", "workflow_id": "pay", "version": 3, "input": {"amount": 1}}
    run.write("flows/parent.json", {"workflow_id": "parent", "steps": [step]})
    test = {"workflow": "parent", "mocks": {"pay/charge": {"output": 1}}, "expect": {"output": {"kid": 1}}}
    run.write("parent.test.json", test)
    told = run()
    assert told.code == 0, told.out


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"workflow": "pai"}, "did you mean 'pay'?"),
        ({"workflow": "gone.json"}, "there is no file"),
        ({"workflow": 1}, "/workflow: 'workflow' is a path or a workflow_id"),
        ({"expects": {}}, "/expects: unknown field 'expects' (did you mean 'expect'?)"),
        ({"expect": {"outptu": 1}}, "/expect/outptu: unknown field 'outptu' (did you mean 'output'?)"),
        ({"expect": {"calls": 1}}, "/expect/calls: 'calls' is an object"),
        ({"expect": []}, "/expect: 'expect' is an object"),
        ({"mocks": {"chrage": {}}}, "/mocks/chrage: there is no step 'chrage' (did you mean 'charge'?)"),
        ({"input": {}}, "/input"),
        ({"now": "soon"}, "write an ISO 8601 date and time"),
        ({"input_file": "gone.json"}, "there is no file"),
    ],
)
def test_a_faulty_test_fails_with_the_place(run: Command, changes: dict[str, Any], text: str) -> None:
    told = run.one(**changes)
    assert told.code == 1
    assert text in told.out


def test_a_faulty_definition_or_file_fails_its_tests(run: Command) -> None:
    run.write("flows/bad.json", {"workflow_id": "bad", "steps": [{"step_id": "x", "step_type": "nap"}]})
    run.write("bad.test.json", {"workflow": "bad"})
    run.write("worse.test.json", "{")
    run.write("odd.test.json", "7")
    told = run()
    assert told.code == 1
    assert "workflow 'bad' is not valid" in told.out
    assert "is not JSON" in told.out
    assert "a test is an object" in told.out


def test_no_tests_are_a_mistake(run: Command) -> None:
    for asked in ([run.folder], [run.folder / "nowhere"]):
        told = run(*asked)
        assert (told.code, "Error:" in told.err) == (2, True)
    run.write("pay.test.json", TEST)
    assert run(run.folder, "--only", "zzz").code == 2


def test_programs_read_json(run: Command) -> None:
    run.write("pay.test.json", [{**TEST, "name": "a"}, {**TEST, "name": "b", "expect": {"output": 1}}])
    told = run(run.folder, "--output", "json")
    document = json.loads(told.out)
    assert (told.code, document["passed"], document["failed"]) == (1, 1, 1)
    assert [test["passed"] for test in document["tests"]] == [True, False]
    assert document["tests"][0]["report"]["status"] == "completed"


def test_ci_reads_junit(run: Command) -> None:
    run.write("pay.test.json", [{**TEST, "name": "a\u0001"}, {**TEST, "name": "b", "expect": {"output": 1}}])
    report = run.folder / "report.xml"
    assert run(run.folder, "--junit-xml", report).code == 1
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = {case.get("name"): [item.get("message") for item in case] for case in suite}
    assert cases == {"pay: a?": [], "pay: b": ['output: expected 1, got "c-1"']}


def test_a_report_that_cannot_be_written_is_told(run: Command) -> None:
    run.write("pay.test.json", TEST)
    told = run(run.folder, "--junit-xml", run.folder / "no" / "report.xml")
    assert (told.code, "cannot write" in told.err) == (2, True)


def test_the_test_in_the_guide_passes(run: Command) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    run.write("order_saga.json", (ROOT / "examples" / "order_saga.json").read_text())
    run.write("guide.test.json", page.split("```json\n")[1].split("```")[0])
    told = run()
    assert told.code == 0, told.out
