"""Every fault of a definition has its code, its place and a way out; all are found at once."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.definition import validate_definition
from tests.unit.definition.documents import Json, agent, document, switch, value

CASES: list[tuple[str, Any, str, str, str]] = [
    ("no object", ["steps"], "wrong-type", "", "steps"),
    ("no name", {"steps": [value("a")]}, "missing-field", "/name", "lead-processing"),
    ("a name without letters", {"name": "***", "steps": [value("a")]}, "invalid-value", "/name", "workflow_id"),
    ("a bad workflow_id", document(value("a"), workflow_id="Upper"), "invalid-value", "/workflow_id", "allowed"),
    ("no steps", {"name": "n"}, "missing-field", "/steps", "add"),
    ("an empty list of steps", document(), "too-few-steps", "/steps", "transform"),
    ("steps of the wrong type", {"name": "n", "steps": {}}, "wrong-type", "/steps", "list"),
    ("a step that is no object", {"name": "n", "steps": [1]}, "wrong-type", "/steps/0", "converted"),
    ("an unknown field", document(value("a"), stepz=[]), "unknown-field", "/stepz", "did you mean 'steps'"),
    ("an unknown step field", document(value("a", wen=True)), "unknown-field", "/steps/0/wen", "did you mean 'when'"),
    (
        "an unknown inner field",
        document(agent("a", retry={"max_attempt": 1})),
        "unknown-field",
        "/steps/0/retry/max_attempt",
        "did you mean 'max_attempts'",
    ),
    ("another language's field", document(value("a", retries=3)), "unknown-field", "/steps/0/retries", "mean 'retry'"),
    ("another language's word", document(value("a", needs=["b"])), "unknown-field", "/steps/0/needs", "'depends_on'"),
    (
        "a read of a step inside the block itself",
        document({**switch("b", value("a")), "output": "{{ steps.a.output }}"}),
        "E_STEP",
        "/steps/0/output",
        "`result`",
    ),
    ("no step type", document({"step_id": "a"}), "missing-field", "/steps/0/step_type", "agent_task"),
    (
        "an unknown step type",
        document({"step_id": "a", "step_type": "agent_tsk"}),
        "unknown-step-type",
        "/steps/0/step_type",
        "did you mean 'agent_task'",
    ),
    (
        "a missing field",
        document({"step_id": "a", "step_type": "transform"}),
        "missing-field",
        "/steps/0/value",
        "add",
    ),
    ("a field of the wrong type", document(value("a", when=5)), "wrong-type", "/steps/0/when", "converted"),
    ("a number as text", document(agent("a", priority="1")), "wrong-type", "/steps/0/priority", "converted"),
    ("a number out of range", document(agent("a", priority=6)), "invalid-value", "/steps/0/priority", "allowed"),
    ("a bad step_id", document(value("1a")), "invalid-value", "/steps/0/step_id", "allowed"),
    ("a step_id of 65 characters", document(value("a" * 65)), "id-too-long", "/steps/0/step_id", "shorten"),
    ("another language", document(value("a"), language_version=2), "invalid-value", "/language_version", "allowed"),
    (
        "a second step of an id",
        document(value("a"), value("a")),
        "duplicate-step-id",
        "/steps/1/step_id",
        "another step_id",
    ),
    (
        "an id taken in an outer scope",
        document(value("a"), switch("b", value("a"))),
        "duplicate-step-id",
        "/steps/1/cases/0/steps/0/step_id",
        "another step_id",
    ),
    (
        "an id taken in another block",
        document(switch("b", value("a")), switch("c", value("a"))),
        "duplicate-step-id",
        "/steps/1/cases/0/steps/0/step_id",
        "another step_id",
    ),
    (
        "an id taken by a handler",
        document(agent("a", on_error=[{"steps": [value("a")]}])),
        "duplicate-step-id",
        "/steps/0/on_error/0/steps/0/step_id",
        "another step_id",
    ),
    (
        "an id taken by a compensation",
        document(agent("a", compensate=value("a"))),
        "duplicate-step-id",
        "/steps/0/compensate/step_id",
        "another step_id",
    ),
    (
        "an id taken by an end scope",
        document(value("a"), on_failure={"steps": [value("a")]}),
        "duplicate-step-id",
        "/on_failure/steps/0/step_id",
        "another step_id",
    ),
    (
        "a dependency that is not there",
        document(value("first"), value("b", depends_on=["frist"])),
        "unknown-step",
        "/steps/1/depends_on/0",
        "did you mean 'first'",
    ),
    (
        "a dependency on an inner step",
        document(switch("b", value("inner")), value("c", depends_on=["inner"])),
        "unknown-step",
        "/steps/1/depends_on/0",
        "steps: b, c",
    ),
    (
        "a dependency on an outer step",
        document(value("outer"), switch("b", value("inner", depends_on=["outer"]))),
        "unknown-step",
        "/steps/1/cases/0/steps/0/depends_on/0",
        "steps: inner",
    ),
    (
        "a dependency on itself",
        document(value("a", depends_on=["a"])),
        "self-dependency",
        "/steps/0/depends_on/0",
        "remove",
    ),
    (
        "a step that reads itself",
        document(value("a", "{{ steps.a.output }}")),
        "self-dependency",
        "/steps/0/value",
        "`result`",
    ),
    (
        "a listed cycle",
        document(value("a", depends_on=["b"]), value("b", depends_on=["a"])),
        "cycle",
        "/steps/0/depends_on",
        "remove",
    ),
    (
        "a cycle through an expression",
        document(value("a", "{{ steps.b.output ?? 1 }}"), value("b", depends_on=["a"])),
        "cycle",
        "/steps/0/depends_on",
        "remove",
    ),
    (
        "a cycle through the inside of a block",
        document(value("a", "{{ steps.b.status }}"), switch("b", switch("c", value("d", "{{ steps.a.output }}")))),
        "cycle",
        "/steps/0/depends_on",
        "remove",
    ),
    (
        "a cycle inside a block",
        document(switch("b", value("c", depends_on=["d"]), value("d", "{{ steps.c.output }}"))),
        "cycle",
        "/steps/0/cases/0/steps/0/depends_on",
        "remove",
    ),
    (
        "a cycle through a handler",
        document(agent("a", on_error=[{"steps": [value("h", "{{ steps.b.output }}")]}]), value("b", depends_on=["a"])),
        "cycle",
        "/steps/0/depends_on",
        "remove",
    ),
    (
        "at_least more than there are",
        document(value("a"), value("b", depends_on=["a"], join={"at_least": 2})),
        "join-impossible",
        "/steps/1/join",
        "lower",
    ),
    ("any of nothing", document(value("a", join="any")), "join-impossible", "/steps/0/join", "depends_on"),
    (
        "at_least more than there are branches",
        document(
            {
                "step_id": "p",
                "step_type": "parallel",
                "branches": {"x": {"steps": [value("a")]}},
                "complete_when": {"at_least": 2},
            }
        ),
        "invalid-value",
        "/steps/0",
        "allowed",
    ),
    (
        "an empty branch",
        document({"step_id": "p", "step_type": "parallel", "branches": {"x": {"steps": []}}}),
        "too-few-steps",
        "/steps/0/branches/x/steps",
        "add a step",
    ),
    (
        "a loop without a bound",
        document({"step_id": "l", "step_type": "loop", "until": True, "steps": [value("a")]}),
        "missing-field",
        "/steps/0/max_iterations",
        "add",
    ),
    (
        "a wait with a retry",
        document({"step_id": "w", "step_type": "wait", "seconds": 1, "retry": {}}),
        "invalid-value",
        "/steps/0",
        "leave it out",
    ),
    (
        "a wait for text",
        document({"step_id": "w", "step_type": "wait", "seconds": "soon"}),
        "invalid-value",
        "/steps/0/seconds",
        "allowed",
    ),
    (
        "a wait for a number as text",
        document({"step_id": "w", "step_type": "wait", "seconds": "5"}),
        "invalid-value",
        "/steps/0/seconds",
        "allowed",
    ),
    (
        "a wait until no moment",
        document({"step_id": "w", "step_type": "wait", "until": "soon"}),
        "invalid-value",
        "/steps/0/until",
        "allowed",
    ),
    (
        "two actions of a handler",
        document(agent("a", on_error=[{"continue": True, "park": True}])),
        "invalid-value",
        "/steps/0/on_error/0",
        "allowed",
    ),
    (
        "a handler in a handler",
        document(agent("a", on_error=[{"steps": [agent("h", on_error=[{"continue": True}])]}])),
        "not-in-handler",
        "/steps/0/on_error/0/steps/0/on_error",
        "out of the handler",
    ),
    (
        "a compensation in a handler",
        document(agent("a", on_error=[{"steps": [switch("h", agent("i", compensate=value("u")))]}])),
        "not-in-handler",
        "/steps/0/on_error/0/steps/0/cases/0/steps/0/compensate",
        "out of the handler",
    ),
    (
        "a finish in a handler",
        document(agent("a", on_error=[{"steps": [{"step_id": "f", "step_type": "finish"}]}])),
        "not-in-handler",
        "/steps/0/on_error/0/steps/0/step_type",
        "out of the handler",
    ),
    (
        "a compensation of a compensation",
        document(agent("a", compensate=agent("u", compensate=agent("uu")))),
        "not-in-handler",
        "/steps/0/compensate/compensate",
        "leave it out",
    ),
    (
        "a compensation in an end scope",
        document(agent("a"), on_cancel=[agent("u", compensate=agent("uu"))]),
        "not-in-handler",
        "/on_cancel/0/compensate",
        "leave it out",
    ),
    (
        "a quorum of too many, one of them named twice",
        document({"step_id": "q", "step_type": "approval", "title": "x", "approvers": ["a", "a"], "quorum": 2}),
        "quorum-impossible",
        "/steps/0/quorum",
        "approvers",
    ),
    (
        "an item's name that expressions know already",
        document({"step_id": "f", "step_type": "foreach", "items": [1], "as": "steps", "steps": [value("a")]}),
        "invalid-value",
        "/steps/0/as",
        "allowed",
    ),
    (
        "a quorum of too many",
        document({"step_id": "q", "step_type": "approval", "title": "x", "approvers": ["a"], "quorum": 2}),
        "quorum-impossible",
        "/steps/0/quorum",
        "lower",
    ),
    ("an unknown agent", document(agent("a", agent_type="slaes")), "unknown-agent", "/steps/0/agent_type", "'sales'"),
    (
        "no JSON Schema",
        document(value("a"), input_schema={"type": "nope"}),
        "invalid-schema",
        "/input_schema/type",
        "JSON Schema",
    ),
    (
        "no JSON Schema in a step",
        document({"step_id": "w", "step_type": "wait_for_signal", "signal": "s", "schema": {"type": 1}}),
        "invalid-schema",
        "/steps/0/schema/type",
        "JSON Schema",
    ),
    ("express", document(value("a"), durability="express"), "not-available", "/durability", '"step"'),
    (
        "an express block",
        document(switch("b", value("a"), durability="express")),
        "not-available",
        "/steps/0/durability",
        '"step"',
    ),
    (
        "tags that no start can carry",
        document(value("a"), tags={f"key{number}": "v" * 250 for number in range(8)}),
        "tags-too-large",
        "/tags",
        "shorter",
    ),
    ("a lone surrogate", document(value("a", "\ud800")), "invalid-json", "", "RFC 8259"),
    ("a huge integer", document(value("a", 2**60)), "invalid-value", "", "2**53"),
    # Expressions: the codes of the expressions' page.
    ("no expression", document(value("a", "{{ 1 + }}")), "E_SYNTAX", "/steps/0/value", "grammar"),
    ("braces mixed with text", document(value("a", when="a {{ b }}")), "E_SYNTAX", "/steps/0/when", "one expression"),
    ("an unknown name", document(value("a", "{{ inptu.x }}")), "E_NAME", "/steps/0/value", "did you mean 'input'"),
    ("an unknown function", document(value("a", "{{ lenn(input) }}")), "E_FUNCTION", "/steps/0/value", "'len'"),
    ("an unknown step", document(value("a"), value("b", "{{ steps.c.output }}")), "E_STEP", "/steps/1/value", "'a'"),
    (
        "a field no step has",
        document(value("a"), value("b", "{{ steps.a.ouput }}")),
        "E_STEP",
        "/steps/1/value",
        "'output'",
    ),
    ("an item outside a foreach", document(value("a", "{{ item }}")), "E_NAME", "/steps/0/value", "input"),
    ("an error outside a handler", document(value("a", "{{ error.type }}")), "E_NAME", "/steps/0/value", "input"),
    (
        "an inner step seen from outside",
        document(switch("b", value("inner")), value("c", "{{ steps.inner.output }}")),
        "E_STEP",
        "/steps/1/value",
        "read steps.b.output",
    ),
    (
        "a sibling branch",
        document(
            {
                "step_id": "p",
                "step_type": "parallel",
                "branches": {
                    "l": {"steps": [value("left")]},
                    "r": {"steps": [value("other", "{{ steps.left.output }}")]},
                },
            }
        ),
        "E_STEP",
        "/steps/0/branches/r/steps/0/value",
        "scope",
    ),
    (
        "the block that one is inside of",
        document(switch("block", value("inner", "{{ steps.block.output }}"))),
        "E_STEP",
        "/steps/0/cases/0/steps/0/value",
        "scope",
    ),
    (
        "the envelope of a foreach that reads its own items",
        document({"step_id": "f", "step_type": "foreach", "items": "steps.inner.output", "steps": [value("inner")]}),
        "E_STEP",
        "/steps/0/items",
        "`result`",
    ),
    (
        "a handler's step",
        document(agent("a", on_error=[{"steps": [value("handled")]}]), value("later", "{{ steps.handled.output }}")),
        "E_STEP",
        "/steps/1/value",
        "read steps.a.output",
    ),
    (
        "a handler's step in the output",
        document(agent("a", on_error=[{"steps": [value("handled")]}]), output="{{ steps.handled.output }}"),
        "E_STEP",
        "/output",
        "read steps.a.output",
    ),
    (
        "a compensation's step",
        document(agent("a", compensate=value("undo")), value("b", "{{ steps.undo.output }}")),
        "E_STEP",
        "/steps/1/value",
        "scope",
    ),
    (
        "an end scope's step",
        document(value("a", "{{ steps.after.output }}"), on_failure=[value("after")]),
        "E_STEP",
        "/steps/0/value",
        "scope",
    ),
    ("a secret", document(value("a", "{{ secrets.KEY }}")), "E_NAME", "/steps/0/value", "credentials"),
    (
        "a secret for an agent",
        document(agent("a", parameters="{{ secrets.KEY }}")),
        "E_NAME",
        "/steps/0/parameters",
        "auth",
    ),
    ("a secret in the output", document(value("a"), output="{{ secrets.KEY }}"), "E_NAME", "/output", "auth"),
    ("the environment", document(value("a", "{{ env.HOME }}")), "E_NAME", "/steps/0/value", "input, vars or secrets"),
]


@pytest.mark.parametrize(("what", "sent", "code", "pointer", "hint"), CASES, ids=[case[0] for case in CASES])
def test_a_fault_is_named_with_its_place_and_a_way_out(
    what: str, sent: Any, code: str, pointer: str, hint: str
) -> None:
    found = validate_definition(sent, known_agents=["sales"])
    assert [(issue.code, issue.pointer) for issue in found.errors] == [(code, pointer)], what
    assert hint in (found.errors[0].hint or ""), found.errors[0]
    assert found.compiled is None
    assert found.sha256 is None


def test_wrong_types_are_told_in_the_words_of_json() -> None:
    sent = document(
        value("a", join=3),
        value("b", depends_on={}),
        agent("c", retry=5),
        agent("d", on_error=[{"continue": False}]),
        {"step_id": "e", "step_type": "parallel", "branches": []},
    )
    told = [issue.message for issue in validate_definition(sent).errors]
    for word in ("dict", "instance", "True", "string"):
        assert not [text for text in told if word in text], told
    assert len(told) == 5


def test_ten_faults_are_all_found_at_once() -> None:
    sent = document(
        value("a", "{{ 1 + }}"),
        value("b", "{{ nope }}", when="steps.zzzzzz.output"),
        value("c", depends_on=["missing_one"]),
        value("d", depends_on=["d"]),
        {"step_id": "e", "step_type": "no_such_type"},
        value("f", wen=True),
        {"step_id": "g", "step_type": "wait", "seconds": "soon"},
        switch("h", value("a")),
        agent("i", agent_type="nobody", output_schema={"type": "nope"}),
        workflow_id="UPPER",
        durability="express",
    )
    expected = {
        ("E_SYNTAX", "/steps/0/value"),
        ("E_NAME", "/steps/1/value"),
        ("E_STEP", "/steps/1/when"),
        ("unknown-step", "/steps/2/depends_on/0"),
        ("self-dependency", "/steps/3/depends_on/0"),
        ("unknown-step-type", "/steps/4/step_type"),
        ("unknown-field", "/steps/5/wen"),
        ("invalid-value", "/steps/6/seconds"),
        ("duplicate-step-id", "/steps/7/cases/0/steps/0/step_id"),
        ("unknown-agent", "/steps/8/agent_type"),
        ("invalid-schema", "/steps/8/output_schema/type"),
        ("invalid-value", "/workflow_id"),
        ("not-available", "/durability"),
    }
    found = validate_definition(sent, known_agents=["sales"])
    assert {(issue.code, issue.pointer) for issue in found.errors} == expected
    assert len(found.errors) == len(expected)


@pytest.mark.parametrize("field", ["when", "value", "output"])
def test_an_inner_step_sees_its_siblings_and_what_its_block_sees(field: str) -> None:
    inner: Json = value("inner", **{field: "steps.outer.output == steps.sibling.output"})
    sent = document(value("outer"), switch("b", value("sibling"), switch("deep", inner)))
    found = validate_definition(sent)
    assert found.errors == []


def test_a_compensation_and_end_scopes_see_what_their_step_and_the_root_see() -> None:
    undo = value("undo", "{{ result }}{{ steps.sibling.output }}{{ steps.outer.output }}{{ item }}")
    each = {
        "step_id": "f",
        "step_type": "foreach",
        "items": "[1]",
        "steps": [value("sibling"), agent("a", compensate=undo)],
    }
    sent = document(value("outer"), each, on_failure=[value("after", "{{ steps.outer.output ?? run.error.type }}")])
    assert validate_definition(sent).errors == []


def test_the_default_durability_may_be_written() -> None:
    sent = document(switch("b", value("a"), durability="step"), durability="step")
    assert validate_definition(sent).errors == []
