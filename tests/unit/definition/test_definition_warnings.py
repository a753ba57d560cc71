"""What is allowed and probably not meant is warned about, with the reason."""

from __future__ import annotations

import pytest

from orchestrator.definition import validate_definition
from tests.unit.definition.documents import Json, agent, document, switch, value

ARMS = (value("yes", when="input.ok == true"), value("no", when="input.ok != true"))
FAILS: Json = {"step_id": "stop", "step_type": "fail", "error_type": "e", "message": "m"}
ENDS: Json = {"step_id": "stop", "step_type": "finish", "value": 1}


def warnings_of(sent: Json) -> list[tuple[str, str]]:
    """Return code and place of the warnings of a valid document."""
    found = validate_definition(sent)
    assert found.errors == []
    assert all(issue.message for issue in found.warnings)
    return [(issue.code, issue.pointer) for issue in found.warnings]


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        (document(ARMS[0], value("c", "{{ steps.yes.output }}")), "/steps/1/value"),
        (document(ARMS[0], value("c", when="steps.yes.output.x == 1")), "/steps/1/when"),
        (document(ARMS[0], value("c"), output="{{ steps.yes.output }}"), "/output"),
        (document(ARMS[0], switch("b", value("c", "{{ steps.yes.output }}"))), "/steps/1/cases/0/steps/0/value"),
    ],
)
def test_a_strict_read_of_a_step_that_may_be_skipped_is_warned_about(sent: Json, pointer: str) -> None:
    assert ("skippable-read", pointer) in warnings_of(sent)


@pytest.mark.parametrize(
    "read",
    [
        "{{ steps.yes.output ?? 1 }}",
        "{{ steps.yes?.output }}",
        "{{ default(steps.yes.output, 1) }}",
        "{{ has(steps.yes.output) }}",
        "{{ steps.yes.status }}",
        "{{ steps.yes.error }}",
    ],
)
def test_a_lenient_read_of_a_step_that_may_be_skipped_is_fine(read: str) -> None:
    assert warnings_of(document(ARMS[0], value("c", read))) == []


def test_both_arms_of_an_either_or_joined_with_all_are_warned_about() -> None:
    sent = document(*ARMS, value("then", depends_on=["yes", "no"]))
    assert warnings_of(sent) == [("exclusive-join", "/steps/2/depends_on")]
    hint = validate_definition(sent).warnings[0].hint or ""
    assert "'any'" in hint
    assert "'settled'" in hint


@pytest.mark.parametrize("join", ["any", "settled", {"at_least": 1}])
def test_arms_joined_otherwise_are_fine(join: object) -> None:
    assert warnings_of(document(*ARMS, value("then", depends_on=["yes", "no"], join=join))) == []


def test_a_step_whose_when_is_false_is_unreachable() -> None:
    assert warnings_of(document(value("a", when=False))) == [("unreachable-step", "/steps/0/when")]


@pytest.mark.parametrize("end", [FAILS, ENDS])
def test_a_step_behind_the_end_of_its_scope_is_unreachable(end: Json) -> None:
    assert warnings_of(document(end, value("c", depends_on=["stop"]))) == [
        ("unreachable-step", "/steps/1/depends_on/0")
    ]


@pytest.mark.parametrize(
    "sent",
    [
        document({**FAILS, "on_error": [{"continue": True}]}, value("c", depends_on=["stop"], join="settled")),
        document({**FAILS, "on_error": [{"output": 1}]}, value("c", depends_on=["stop"])),
        document({**FAILS, "when": "input.bad == true"}, value("c", depends_on=["stop"], join="settled")),
        document(agent("a"), value("c", depends_on=["a"])),
    ],
)
def test_a_step_behind_an_end_that_may_not_come_is_fine(sent: Json) -> None:
    assert "unreachable-step" not in [code for code, _ in warnings_of(sent)]


def test_warnings_do_not_hide_in_inner_scopes() -> None:
    inner = switch("b", *ARMS, value("then", depends_on=["yes", "no"]))
    assert warnings_of(document(inner)) == [("exclusive-join", "/steps/0/cases/0/steps/2/depends_on")]


# --- what never runs ----------------------------------------------------------------------------------------------

NEVER = value("never", when=False)


@pytest.mark.parametrize(
    ("sent", "pointer", "why"),
    [
        (document(NEVER, value("c", depends_on=["never"])), "/steps/1/depends_on/0", "'never' never runs"),
        (document(value("never", when="false"), value("c", depends_on=["never"])), "/steps/1/depends_on/0", "never"),
        (document(NEVER, value("c", "{{ steps.never.output }}")), "/steps/1/value", "it reads 'never'"),
        (document(NEVER, FAILS, value("c", depends_on=["never", "stop"], join="any")), "/steps/2/depends_on/0", "join"),
        (
            document(NEVER, value("a"), value("c", depends_on=["a", "never"], join={"at_least": 2})),
            "/steps/2/depends_on/1",
            "its join can never be met",
        ),
        (document(FAILS, value("c", depends_on=["stop"], join="settled")), "/steps/1/depends_on/0", "always ends"),
        (document(FAILS, value("c", "{{ steps.stop.output ?? 1 }}")), "/steps/1/value", "'stop' always ends the scope"),
    ],
)
def test_a_step_that_can_never_begin_is_unreachable_with_the_reason(sent: Json, pointer: str, why: str) -> None:
    assert ("unreachable-step", pointer) in warnings_of(sent)
    assert why in " ".join(issue.message for issue in validate_definition(sent).warnings)


def test_what_waits_for_an_unreachable_step_is_unreachable_too() -> None:
    chain = [value(f"s{number}", depends_on=[f"s{number - 1}"]) for number in range(1, 4)]
    assert [code for code, _ in warnings_of(document(value("s0", when=False), *chain))] == ["unreachable-step"] * 4


@pytest.mark.parametrize(
    "sent",
    [
        document(NEVER, value("a"), value("c", depends_on=["a", "never"], join="any")),
        document(NEVER, value("c", depends_on=["never"], join="settled")),
        document(value("a", when="input.x == 1"), value("c", depends_on=["a"])),
        document(ARMS[0], {**FAILS, "depends_on": ["yes"]}, value("c", depends_on=["stop"], join="settled")),
    ],
)
def test_a_step_that_something_can_bring_to_run_is_reachable(sent: Json) -> None:
    assert [place for code, place in warnings_of(sent) if code == "unreachable-step" and "depends_on" in place] == []


BOTH_END: Json = {"step_id": "s", "step_type": "switch", "cases": [{"when": "input.x", "steps": [FAILS]}]}
ENDLESS: Json = {"step_id": "l", "step_type": "loop", "max_iterations": 3, "while": True, "steps": [value("x")]}


def branches(complete_when: object, *scopes: list[Json]) -> Json:
    named = {f"b{number}": {"steps": steps} for number, steps in enumerate(scopes)}
    return {"step_id": "p", "step_type": "parallel", "complete_when": complete_when, "branches": named}


def each(items: object, *steps: Json, **fields: object) -> Json:
    return {"step_id": "f", "step_type": "foreach", "items": items, "steps": list(steps), **fields}


@pytest.mark.parametrize(
    "block",
    [
        ENDLESS,
        {**ENDLESS, "while": None, "until": False},
        {**ENDLESS, "while": None, "until": "input.x", "steps": [FAILS]},
        {**BOTH_END, "default": {"steps": [value("y"), {**ENDS, "step_id": "z", "depends_on": ["y"]}]}},
        switch("s", ENDS, cases=[{"when": True, "steps": [ENDS]}, {"when": "input.x", "steps": []}]),
        branches("all", [value("y")], [FAILS]),
        branches("any", [FAILS], [{**ENDLESS, "step_id": "m"}]),
        branches({"at_least": 2}, [value("y")], [FAILS], [{**FAILS, "step_id": "stop2"}]),
        each([1], FAILS),
        {**FAILS, "when": "input.x"},
        each([1], branches("all", [{**BOTH_END, "default": {"steps": [{**FAILS, "step_id": "n"}]}}])),
    ],
)
def test_a_step_behind_a_block_that_never_completes_is_unreachable(block: Json) -> None:
    block = {name: value for name, value in block.items() if value is not None}
    then = value("then", depends_on=[block["step_id"]])
    assert ("unreachable-step", "/steps/1/depends_on/0") in warnings_of(document(block, then))


@pytest.mark.parametrize(
    "block",
    [
        {**ENDLESS, "while": "vars.more"},
        {**ENDLESS, "on_error": [{"errors": ["loop-exhausted"], "output": 1}]},
        {**ENDLESS, "while": "input.x", "steps": [FAILS]},
        BOTH_END,
        {**BOTH_END, "default": {"steps": [{**FAILS, "when": "input.y"}]}, "cases": [{"when": False, "steps": []}]},
        {**BOTH_END, "default": {"steps": []}},
        branches("settled", [FAILS]),
        branches("any", [FAILS], [value("y")]),
        branches({"at_least": 1}, [value("y")], [FAILS]),
        each([], FAILS),
        each("input.list", FAILS),
        each([1], FAILS, tolerate={"count": 1}),
        each([1], agent("a", on_error=[{"continue": True}]), {**FAILS, "depends_on": ["a"]}),
        each([1], agent("a", on_error=[{"park": True}]), {**FAILS, "depends_on": ["a"]}),
    ],
)
def test_a_step_behind_a_block_that_may_complete_is_reachable(block: Json) -> None:
    then = value("then", depends_on=[block["step_id"]])
    assert "unreachable-step" not in [
        code for code, place in warnings_of(document(block, then)) if place.startswith("/steps/1")
    ]


def test_a_step_behind_a_finish_that_ends_nothing_is_reachable() -> None:
    late = {"steps": [ENDS, value("c", depends_on=["stop"])]}
    assert [code for code, _ in warnings_of(document(value("a"), on_failure=late))] == ["no-effect"]


@pytest.mark.parametrize("read", ["{{ steps.never.output ?? 1 }}", "{{ steps.never.status }}"])
def test_a_read_of_a_step_that_never_runs_is_dead(read: str) -> None:
    assert ("dead-read", "/steps/1/value") in warnings_of(document(NEVER, value("c", read)))
    assert ("dead-read", "/output") in warnings_of(document(NEVER, value("c"), output=read))


def loop(**fields: object) -> Json:
    return {"step_id": "l", "step_type": "loop", "max_iterations": 3, "steps": [value("x")], **fields}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (loop(until=False), ("endless-loop", "/steps/0/until")),
        (loop(until="false"), ("endless-loop", "/steps/0/until")),
        (loop(**{"while": "{{ true }}"}), ("endless-loop", "/steps/0/while")),
        (loop(**{"while": True}), ("endless-loop", "/steps/0/while")),
        (loop(**{"while": False}), ("unreachable-step", "/steps/0/while")),
        (loop(until="steps.x.output > 1"), None),
    ],
)
def test_a_loop_that_its_condition_never_ends_is_warned_about(sent: Json, expected: tuple[str, str] | None) -> None:
    assert warnings_of(document(sent)) == ([expected] if expected else [])


def test_cases_behind_one_that_is_always_true_are_unreachable() -> None:
    cases = [{"when": False, "steps": []}, {"when": True, "steps": [value("a")]}, {"when": "input.x", "steps": []}]
    sent: Json = {"step_id": "s", "step_type": "switch", "cases": cases, "default": {"steps": []}}
    places = [place for code, place in warnings_of(document(sent)) if code == "unreachable-step"]
    assert places == ["/steps/0/cases/0/when", "/steps/0/cases/2", "/steps/0/default"]


# --- what may lack an output --------------------------------------------------------------------------------------


def test_an_output_that_reads_behind_a_skippable_step_is_warned_about() -> None:
    sent = document(ARMS[0], value("c", depends_on=["yes"]), output="{{ steps.c.output.x }}")
    assert warnings_of(sent) == [("skippable-read", "/output")]


def test_a_strict_read_of_a_step_whose_failure_may_be_tolerated_is_warned_about() -> None:
    sent = document(agent("a", on_error=[{"continue": True}]), value("c", "{{ steps.a.output }}"))
    assert warnings_of(sent) == [("skippable-read", "/steps/1/value")]


# --- variables ----------------------------------------------------------------------------------------------------


def assign(step_id: str, variable: str = "x", to: object = 1, **fields: object) -> Json:
    return {"step_id": step_id, "step_type": "assign", "values": {variable: to}, **fields}


@pytest.mark.parametrize(
    "read",
    [
        value("r", "{{ vars.x }}"),
        value("r", "{{ vars }}"),
        value("r", when="vars.x == 1"),
        agent("r", output="{{ vars.x ?? 0 }}"),
        switch("b", value("r", "{{ vars.x }}")),
        agent("r", on_error=[{"steps": [value("h", "{{ vars.x }}")]}]),
        {"step_id": "e", "step_type": "foreach", "items": "[1]", "steps": [value("r")], "item_output": "{{ vars.x }}"},
    ],
)
@pytest.mark.parametrize(
    "write", [assign("w"), switch("v", assign("w")), agent("v", on_error=[{"steps": [assign("w")]}])]
)
def test_a_read_of_a_variable_that_another_step_sets_meanwhile_is_warned_about(read: Json, write: Json) -> None:
    assert [code for code, _ in warnings_of(document(read, write))] == ["unordered-read"]
    assert [code for code, _ in warnings_of(document(write, read))] == ["unordered-read"]
    other = {**read, "depends_on": [write["step_id"]]}
    assert warnings_of(document(write, other)) == []
    between = value("between", depends_on=[write["step_id"]])
    assert warnings_of(document({**read, "depends_on": ["between"]}, write, between)) == []
    assert warnings_of(document(read, {**write, "depends_on": [read["step_id"]]})) == []


def test_reads_of_other_variables_and_of_their_own_are_fine() -> None:
    assert warnings_of(document(value("r", "{{ vars.y }}"), assign("w"), vars={"y": 1})) == []
    assert warnings_of(document(assign("w", to="{{ vars.x + 1 }}"), vars={"x": 1})) == []
    undo = value("undo", "{{ vars.x }}")
    assert warnings_of(document(agent("a", compensate=undo), assign("w"))) == []


def test_two_steps_that_set_one_variable_in_no_order_are_warned_about() -> None:
    assert warnings_of(document(assign("a"), assign("b"))) == [("unordered-write", "/steps/1/values/x")]
    assert warnings_of(document(assign("a"), assign("b", depends_on=["a"]))) == []
    either_or = document(assign("a", when="input.x == 1"), assign("b", when="input.x != 1"))
    assert warnings_of(either_or) == []


def parallel(**branches: Json) -> Json:
    return {"step_id": "p", "step_type": "parallel", "branches": {k: {"steps": [v]} for k, v in branches.items()}}


def test_what_branches_and_items_lose_is_warned_about() -> None:
    both = document(parallel(l=assign("a"), r=assign("b")))
    assert warnings_of(both) == [("lost-write", "/steps/0/branches/r/steps/0/values/x")]
    across = document(parallel(l=assign("a"), r=value("b", "{{ vars.x }}")))
    assert warnings_of(across) == [("unordered-read", "/steps/0/branches/r/steps/0/value")]
    assert warnings_of(document(parallel(l=assign("a"), r=assign("b", "y")))) == []
    adding = assign("a", to="{{ vars.x + item }}")
    each: Json = {"step_id": "e", "step_type": "foreach", "items": "[1, 2]", "steps": [adding]}
    assert warnings_of(document(each)) == [("lost-write", "/steps/0/steps/0/values/x")]
    begun = {**each, "steps": [assign("z", to=0), {**adding, "depends_on": ["z"]}]}
    assert warnings_of(document(begun)) == []
    assert warnings_of(document({**each, "steps": [assign("a", to="{{ item }}")]})) == []


CHILD: Json = {"step_id": "c", "step_type": "workflow", "workflow_id": "other"}
ASK: Json = {"step_id": "a", "step_type": "approval", "title": "t"}
LIMITS = {"start_to_close_seconds": 5, "schedule_to_close_seconds": 50}


@pytest.mark.parametrize(
    ("step", "pointers"),
    [
        (value("v", task_queue="q", priority=1), ["task_queue", "priority"]),
        (
            value("v", retry={"max_attempts": 2}, timeouts=LIMITS),
            ["retry", *(f"timeouts/{name}" for name in sorted(LIMITS))],
        ),
        ({**ASK, "timeouts": {"schedule_to_close_seconds": 5}}, ["timeouts/schedule_to_close_seconds"]),
        ({**ASK, "on_timeout": "approve"}, ["on_timeout"]),
        ({**ASK, "on_timeout": "approve", "timeout_seconds": 5}, []),
        ({**CHILD, "retry": {"max_attempts": 2}, "timeouts": LIMITS}, ["timeouts/start_to_close_seconds"]),
        ({**CHILD, "on_parent_close": "abandon"}, ["on_parent_close"]),
        ({**CHILD, "on_parent_close": "abandon", "wait": False}, []),
        (switch("s", value("v"), retry={"max_attempts": 2}, timeouts=LIMITS), ["timeouts/start_to_close_seconds"]),
        (agent("a", retry={"max_attempts": 2}, timeouts=LIMITS, task_queue="q", priority=1), []),
    ],
)
def test_fields_that_mean_nothing_for_a_type_are_warned_about(step: Json, pointers: list[str]) -> None:
    assert warnings_of(document(step)) == [("no-effect", f"/steps/0/{pointer}") for pointer in pointers]


def test_a_handler_behind_one_that_takes_every_error_is_warned_about() -> None:
    every, late = {"output": 1}, {"errors": ["timeout"], "output": 2}
    assert warnings_of(document(agent("a", on_error=[every, late]))) == [("unreachable-handler", "/steps/0/on_error/1")]
    for handlers in (
        [late, every],
        [{**every, "when": "error.type == 'x'"}, late],
        [every, {**late, "errors": ["cancelled"]}],
    ):
        assert warnings_of(document(agent("a", on_error=handlers))) == []


def test_a_finish_in_cleaning_up_is_warned_about() -> None:
    ends = {"step_id": "e", "step_type": "finish", "value": 1}
    assert warnings_of(document(agent("a"), on_failure=[switch("s", ends)])) == [
        ("no-effect", "/on_failure/0/cases/0/steps/0/step_type")
    ]
    assert warnings_of(document(agent("a", compensate=ends))) == [("no-effect", "/steps/0/compensate/step_type")]
    inside = switch("s", agent("a", compensate=switch("u", ends)))
    assert warnings_of(document(inside)) == [
        ("no-effect", "/steps/0/cases/0/steps/0/compensate/cases/0/steps/0/step_type")
    ]
    assert warnings_of(document(ends)) == []
