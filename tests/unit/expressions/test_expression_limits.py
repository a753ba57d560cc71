"""Sizes and nesting of sources: the parser and the compiler end in E_LIMIT or E_SYNTAX, never in a RecursionError."""

from __future__ import annotations

import pytest

from orchestrator.expressions import ExpressionError, compile_expression, compile_template, evaluate


@pytest.mark.parametrize(
    "source",
    [
        "(" * 4_000,
        "(" * 2_000 + "1" + ")" * 2_000,
        "[" * 4_000,
        "{a: " * 2_000,
        "!" * 4_000 + "true",
        "not " * 2_000 + "true",
        "-" * 4_000 + "x",
        "x[" * 2_000,
        "len(" * 2_000,
        "a ? " * 2_000,
        "a ? b : " * 1_000 + "(" * 60,
        "[].map(x => " * 500,
        "x" + ".len()" * 1_000,
        "x" + " | len" * 1_000,
        "a ?? (" * 1_000,
        "a or b and not c == d ?? e + f * -(" * 60,
    ],
)
def test_deep_nesting_is_refused(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert caught.value.code in ("E_LIMIT", "E_SYNTAX")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("+".join(["1"] * 2_000), 2_000),
        (" && ".join(["true"] * 1_000), True),
        (" ?? ".join(["null"] * 1_000), None),
        ("false ? 1 : " * 600 + "2", 2),
        ("[" + ",".join(["1"] * 3_000) + "].len()", 3_000),
        ("a" + ".b" * 30, 5),
    ],
)
def test_long_expressions_without_nesting_are_fine(source: str, value: object) -> None:
    context: object = 5
    for _ in range(30):
        context = {"b": context}
    assert evaluate(source, {"a": context}) == value


def test_48_levels_are_allowed_and_49_are_not() -> None:
    assert evaluate("(" * 47 + "1" + ")" * 47, {}) == 1
    with pytest.raises(ExpressionError, match="deeper than 48 levels"):
        compile_expression("(" * 48 + "1" + ")" * 48)


def test_an_expression_of_8_kib_is_allowed_and_one_more_byte_is_not() -> None:
    compile_expression("'" + "x" * (8 * 1_024 - 2) + "'")
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        compile_expression("'" + "x" * (8 * 1_024 - 1) + "'")
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        compile_expression("'" + "é" * (4 * 1_024) + "'")
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        compile_template("text {{ '" + "x" * 8 * 1_024 + "' }} text")


def test_a_template_of_256_kib_is_allowed_and_more_is_not() -> None:
    compile_template(["{{ a }}" + "x" * 200_000])
    compile_template(["x" * 1_000_000])
    with pytest.raises(ExpressionError, match="longer than 262144 bytes"):
        compile_template(["{{ a }}" + "x" * 150_000] * 2)


def test_a_deeply_nested_template_is_refused() -> None:
    value: object = "{{ a }}"
    for _ in range(5_000):
        value = [value]
    with pytest.raises(ExpressionError, match="nested deeper than 60"):
        compile_template(value)


def test_template_and_result_together_keep_to_60_levels() -> None:
    template: object = "{{ a }}"
    for _ in range(50):
        template = [template]
    inner: object = 1
    for _ in range(11):
        inner = [inner]
    with pytest.raises(ExpressionError, match="nested deeper than 60"):
        compile_template(template).render({"a": inner})
    assert compile_template(template).render({"a": inner[0]})  # type: ignore[index]
