"""What an expression reads is known without running it."""

from __future__ import annotations

import time

import pytest

from orchestrator.expressions import Reference, check_references, compile_expression, compile_template


def references(source: str) -> list[tuple[str, str | None, str | None, bool]]:
    return [(r.root, r.step_id, r.field, r.strict) for r in compile_expression(source).references]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("steps.a.output.x", [("steps", "a", "output", True)]),
        ("steps['my-id'].output", [("steps", "my-id", "output", True)]),
        ("steps.a.status", [("steps", "a", "status", False)]),
        ("steps.a.error.message", [("steps", "a", "error", False)]),
        ("steps.a.attempts", [("steps", "a", "attempts", True)]),
        ("steps.a.output.x ?? 1", [("steps", "a", "output", False)]),
        ("steps.a.output?.x", [("steps", "a", "output", False)]),
        ("steps.a?.output", [("steps", "a", "output", False)]),
        ("has(steps.a.output.x)", [("steps", "a", "output", False)]),
        ("default(steps.a.output, steps.b.output)", [("steps", "a", "output", False), ("steps", "b", "output", True)]),
        ("steps.a.output.rows | default([])", [("steps", "a", "output", False)]),
        ("steps.a.output.rows.map(r => r.id) ?? []", [("steps", "a", "output", False)]),
        ("1 ?? steps.a.output", [("steps", "a", "output", True)]),
        ("(steps.a.output + 1) ?? 0", [("steps", "a", "output", True)]),
        ("x[steps.a.output] ?? 0", [("steps", "a", "output", True), ("x", None, None, False)]),
        ("input.lead.name", [("input", None, "lead", True)]),
        ("item", [("item", None, None, True)]),
        ("vars['count']", [("vars", None, "count", True)]),
        ("rows.map(x => x.a + y.b)", [("rows", None, None, True), ("y", None, "b", True)]),
        ("rows.reduce((total, x) => total + x, 0)", [("rows", None, None, True)]),
        ("rows.map(input => input.x)", [("rows", None, None, True)]),
        ("now()", []),
    ],
)
def test_references_name_root_step_field_and_strictness(
    source: str, expected: list[tuple[str, str | None, str | None, bool]]
) -> None:
    assert references(source) == expected


def test_references_know_where_they_stand() -> None:
    template = compile_template({"a": ["x {{ 1 + steps.fetch.output }}"]}, pointer="/steps/2/value")
    assert template.references == (
        Reference("steps", "fetch", "output", True, "/steps/2/value/a/0", "{{ 1 + steps.fetch.output }}", 8),
    )


def test_unknown_names_steps_and_step_fields_are_found_with_a_suggestion() -> None:
    found = compile_expression(
        "[inptu.x, steps.fecth.output, steps.fetch.outptu, len, secret, steps.fetch.output, input.x]", pointer="/p"
    ).references
    errors = check_references(found, roots=["input", "vars"], step_ids=["fetch", "store"])
    assert [(e.code, e.message, e.hint) for e in errors] == [
        ("E_NAME", "unknown name 'inptu'", "did you mean 'input'?"),
        ("E_STEP", "unknown step 'fecth'", "did you mean 'fetch'?"),
        ("E_STEP", "a step has no field 'outptu'", "did you mean 'output'?"),
        ("E_NAME", "'len' is a function, not a value", "call it: len(x)"),
        ("E_NAME", "unknown name 'secret'", "the names are input, vars"),
    ]
    assert all(error.pointer == "/p" and error.column and error.expression for error in errors)


def test_where_no_step_can_be_read_the_error_says_so() -> None:
    found = compile_expression("steps.a.output").references
    assert [e.message for e in check_references(found, roots=["input"], step_ids=[])] == ["no step can be read here"]
    assert [e.code for e in check_references(found, roots=["input", "steps"], step_ids=[])] == ["E_STEP"]


def test_secrets_need_their_place() -> None:
    found = compile_template("{{ secrets.KEY }}").references
    assert check_references(found, roots=["secrets"], step_ids=[]) == []
    assert [e.message for e in check_references(found, roots=["input"], step_ids=[])] == ["secrets cannot be read here"]


def test_thousands_of_unknown_steps_are_checked_soon() -> None:
    ids = [f"step_number_{n}" for n in range(5_000)]
    found = [Reference("steps", f"stepp_number_{n}x", "output", True, "", "", 1) for n in range(5_000)]
    found += [Reference("steps", "k" * 1_000_000, "output", True, "", "", 1)]
    started = time.process_time()
    errors = check_references(found, roots=["input"], step_ids=ids)
    assert time.process_time() - started < 3
    assert len(errors) == 5_001
    assert errors[0].hint == "did you mean 'step_number_0'?"
    assert len(errors[-1].message) < 200
