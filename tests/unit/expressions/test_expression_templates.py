"""Templates: literals, secrets, every error at once."""

from __future__ import annotations

import pytest

from orchestrator.expressions import (
    ExpressionError,
    Meter,
    SecretRef,
    SecretSlot,
    collect_template_errors,
    compile_template,
    render,
)


def test_a_template_without_expressions_is_returned_unchanged() -> None:
    value = {"a": [1, "text", {"b": None}], "c": "{ }} }"}
    template = compile_template(value)
    assert template.is_literal
    assert not template.has_secrets
    assert template.references == ()
    assert template.render({}) is value


def test_parts_without_expressions_are_shared_with_the_template() -> None:
    value = {"a": {"big": [1, 2, 3]}, "b": "{{ x }}"}
    template = compile_template(value)
    assert not template.is_literal
    rendered = template.render({"x": 1})
    assert rendered == {"a": {"big": [1, 2, 3]}, "b": 1}
    assert rendered["a"] is value["a"]
    assert value["b"] == "{{ x }}"


def test_a_literal_is_unwrapped_and_never_templated() -> None:
    template = compile_template({"prompt": {"$literal": {"text": "{{ not.an expression"}}})
    assert not template.is_literal
    assert template.render({}) == {"prompt": {"text": "{{ not.an expression"}}


def test_a_result_is_never_scanned_again() -> None:
    assert render("{{ x }}", {"x": "{{ y }}"}) == "{{ y }}"
    assert render("<{{ x }}>", {"x": "{{ y }}"}) == "<{{ y }}>"


def test_all_create_time_errors_come_together() -> None:
    template, errors = collect_template_errors(
        {
            "a": "{{ 1 + }}",
            "b": ["{{ lenn(x) }} and {{ steps.a }}", {"c/d": "{{ secrets.KEY | upper }}"}],
            "e": "{{ (" + "(" * 60 + " }}",
            "f": "{{ fine }}",
            "g": "{{ open",
        },
        pointer="/steps/0/value",
    )
    assert template is None
    assert [(error.code, error.pointer) for error in errors] == [
        ("E_SYNTAX", "/steps/0/value/a"),
        ("E_FUNCTION", "/steps/0/value/b/0"),
        ("E_STEP", "/steps/0/value/b/0"),
        ("E_NAME", "/steps/0/value/b/1/c~1d"),
        ("E_LIMIT", "/steps/0/value/e"),
        ("E_SYNTAX", "/steps/0/value/g"),
    ]
    assert all(error.expression for error in errors)


def test_compiling_raises_the_first_error() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(["ok", "{{ 1 + }}", "{{ lenn(x) }}"], pointer="/p")
    assert (caught.value.code, caught.value.pointer) == ("E_SYNTAX", "/p/1")


def test_secrets_come_back_as_slots_beside_the_value() -> None:
    template = compile_template(
        {
            "headers": {"Authorization": "Bearer {{ secrets.API_KEY }}", "X-Id/~": "{{ secrets['my-key'] }}", "X": "1"},
            "query": ["{{ user }}:{{ secrets.PASSWORD }}@{{ 1 + 1 }}"],
        },
        pointer="/steps/3",
    )
    assert template.has_secrets
    assert not template.is_literal
    value, slots = template.render_with_secrets({"user": "ada"})
    assert value == {"headers": {"Authorization": None, "X-Id/~": None, "X": "1"}, "query": [None]}
    assert slots == [
        SecretSlot("/headers/Authorization", ("Bearer ", SecretRef("API_KEY"))),
        SecretSlot("/headers/X-Id~1~0", (SecretRef("my-key"),)),
        SecretSlot("/query/0", ("ada", ":", SecretRef("PASSWORD"), "@", "2")),
    ]
    assert [(ref.root, ref.field) for ref in template.references] == [
        ("secrets", "API_KEY"),
        ("secrets", "my-key"),
        ("user", None),
        ("secrets", "PASSWORD"),
    ]


def test_a_template_that_is_a_secret_has_its_slot_at_the_root() -> None:
    assert compile_template("{{ secrets.KEY }}", pointer="/x").render_with_secrets({}) == (
        None,
        [SecretSlot("", (SecretRef("KEY"),))],
    )


def test_secrets_are_not_rendered_elsewhere() -> None:
    template = compile_template({"a": "{{ secrets.KEY }}"}, pointer="/steps/0/arguments")
    with pytest.raises(ExpressionError) as caught:
        template.render({"secrets": {"KEY": "leak"}})
    assert (caught.value.code, caught.value.pointer) == ("E_NAME", "/steps/0/arguments/a")
    assert caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "secrets",
        "secrets.A.B",
        "secrets?.A",
        "secrets[x]",
        "upper(secrets.A)",
        "secrets.A == 'x'",
        "[secrets.A]",
        "secrets.A ?? ''",
    ],
)
def test_a_secret_is_no_part_of_an_expression(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(f"{{{{ {source} }}}}")
    assert caught.value.code == "E_NAME"
    assert "{{ secrets.NAME }}" in (caught.value.hint or "")


def test_a_template_is_one_evaluation() -> None:
    template = compile_template(["{{ rows.map(x => x + 1) }}"] * 10)
    meter = Meter()
    template.render({"rows": list(range(1_000))}, meter=meter)
    assert meter.work > 10_000
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        template.render({"rows": list(range(10_000))})


def test_the_host_serves_every_expression_of_a_template() -> None:
    class Host:
        def now(self) -> str:
            return "2026-03-01T00:00:00+01:00"

        def uuid(self) -> str:
            return "u-1"

    assert compile_template({"at": "{{ now() }}", "key": "k-{{ uuid() }}"}).render({}, host=Host()) == {
        "at": "2026-02-28T23:00:00Z",
        "key": "k-u-1",
    }
