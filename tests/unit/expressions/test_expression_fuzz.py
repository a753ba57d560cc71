"""A grammar fuzzer: whatever is written, only `ExpressionError` leaves, and twice the same comes out."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.expressions import (
    ExpressionError,
    Json,
    Meter,
    check_references,
    compile_expression,
    compile_template,
)
from orchestrator.expressions.table import FUNCTIONS
from tests.support.properties import looked_through

SETTINGS = looked_through(250)
CONTEXT: dict[str, Json] = {
    "input": {"a": 1, "b": "text", "c": [1, 2.5, "x", None, True], "d": {"e": {"f": []}}, "half": "\ud800"},
    "steps": {"s": {"status": "completed", "output": {"rows": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}}},
    "item": None,
    "big": 2**63 - 1,
    "float": 1e308,
}
NAMES = ["input", "item", "big", "float", "x", "y", "nope", "steps"]
FIELDS = ["a", "b", "c", "d", "e", "f", "half", "output", "rows", "k", "zz"]
LITERALS = ["0", "1", "-1", "2.5", "1e308", "9223372036854775807", "'a'", "''", "'2026-01-01'", "'7d'", "'[a-z]+'",
            "'{\"a\": 1}'", "true", "false", "null", "[]", "{}", "'desc'", "'%Y'"]  # fmt: skip
OPERATORS = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "not in",
    "and",
    "or",
    "&&",
    "||",
    "??",
]

leaves = st.one_of(
    st.sampled_from(LITERALS), st.sampled_from(NAMES), st.sampled_from(["input.c", "input.d", "input.b"])
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    functions = st.sampled_from(sorted(FUNCTIONS))
    lambdas = st.one_of(inner.map("x => {}".format), inner.map("(x, y) => {}".format))
    arguments = st.lists(st.one_of(inner, inner, lambdas), max_size=3).map(", ".join)
    return st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(" ".join),
        st.tuples(inner, inner, inner).map(lambda parts: "({} ? {} : {})".format(*parts)),
        inner.map("({})".format),
        inner.map("!{}".format),
        inner.map("-{}".format),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, max_size=2).map(lambda items: "{" + ", ".join(f"k{i}: {v}" for i, v in enumerate(items)) + "}"),
        st.tuples(inner, st.sampled_from([".", "?."]), st.sampled_from(FIELDS)).map("".join),
        st.tuples(inner, inner).map(lambda parts: "{}[{}]".format(*parts)),
        st.tuples(inner, functions, arguments).map(lambda parts: "{}.{}({})".format(*parts)),
        st.tuples(functions, arguments).map(lambda parts: "{}({})".format(*parts)),
        st.tuples(inner, functions).map(" | ".join),
    )


expressions = st.recursive(leaves, grown, max_leaves=12)
SYMBOLS = [*"()[]{}.,?:|!=><'\"\\x", "=>", "{{", "}}"]
fragments = st.lists(
    st.one_of(
        st.sampled_from([*OPERATORS, *LITERALS, *NAMES, *sorted(FUNCTIONS), *SYMBOLS]),
        st.text(max_size=3),
    ),
    max_size=15,
)


def outcome(source: Any, template: bool) -> str:
    meter = Meter()
    try:
        if template:
            value = compile_template(source).render(CONTEXT, meter=meter)
        else:
            value = compile_expression(source).evaluate(CONTEXT, meter=meter)
        return json.dumps([value, meter.work])
    except ExpressionError as error:
        str(error).encode()
        return json.dumps([error.to_dict(), meter.work])


def check(source: Any, template: bool = False) -> None:
    before = copy.deepcopy(CONTEXT)
    assert outcome(source, template) == outcome(source, template)
    assert before == CONTEXT


@SETTINGS
@given(expressions)
def test_only_our_errors_leave_a_well_formed_expression(source: str) -> None:
    check(source)


@SETTINGS
@given(fragments.map(" ".join))
def test_only_our_errors_leave_a_heap_of_tokens(source: str) -> None:
    check(source)


@SETTINGS
@given(st.text(max_size=40))
def test_only_our_errors_leave_any_text(source: str) -> None:
    check(source)
    check("{{" + source, template=True)
    check(f"a {{{{ {source} }}}} b", template=True)


@SETTINGS
@given(
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), expressions.map("{{{{ {} }}}}".format), fragments.map("".join)
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        max_leaves=6,
    )
)
def test_only_our_errors_leave_any_template(template: Json) -> None:
    check(template, template=True)


@SETTINGS
@given(expressions)
def test_references_of_anything_that_compiles_can_be_checked(source: str) -> None:
    try:
        compiled = compile_expression(source)
    except ExpressionError:
        return
    check_references(compiled.references, roots=["input", "item"], step_ids=["s"])
    assert not {reference.root for reference in compiled.references} & {"secrets"}


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([1.0, 0.0, -0.0, 2.5]), st.sampled_from("ab1")
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=6,
)


@SETTINGS
@given(st.lists(json_values, max_size=6))
def test_unique_agrees_with_equality(values: list[Json]) -> None:
    kept = compile_expression("v.unique()").evaluate({"v": values})
    equal = compile_expression("a == b")
    for position, value in enumerate(kept):
        assert not any(equal.evaluate({"a": value, "b": other}) for other in kept[position + 1 :])
    assert all(any(equal.evaluate({"a": value, "b": other}) for other in kept) for value in values)
