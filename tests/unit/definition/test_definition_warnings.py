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
        document({**FAILS, "when": "input.bad == true"}, value("c", depends_on=["stop"])),
        document(agent("a"), value("c", depends_on=["a"])),
    ],
)
def test_a_step_behind_an_end_that_may_not_come_is_fine(sent: Json) -> None:
    assert "unreachable-step" not in [code for code, _ in warnings_of(sent)]


def test_warnings_do_not_hide_in_inner_scopes() -> None:
    inner = switch("b", *ARMS, value("then", depends_on=["yes", "no"]))
    assert warnings_of(document(inner)) == [("exclusive-join", "/steps/0/cases/0/steps/2/depends_on")]
