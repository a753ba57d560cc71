"""Errors say where they are, what is there instead, and what to do."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator, Mapping

import pytest

from orchestrator.expressions import ExpressionError, Json, compile_expression, compile_template, suggest
from orchestrator.expressions import evaluate as evaluate_expression
from orchestrator.expressions import render as render_template
from orchestrator.expressions.foreign_names import SAME, foreign_hint
from orchestrator.expressions.table import FUNCTIONS

CONTEXT: dict[str, Json] = {"input": {"lead": {"email": "a@b.c", "name": "Ada", "tags": ["x"]}}, "nothing": None}


def failure(template: Json, context: Mapping[str, Json] = CONTEXT) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        render_template(template, context)
    return caught.value


def test_a_missing_field_reads_as_the_specification_shows() -> None:
    assert str(failure("{{ input.lead.emial }}")) == (
        "E_MISSING: input.lead has no field 'emial'\n"
        "    {{ input.lead.emial }}\n"
        "                  ^ column 15\n"
        "    hint: did you mean 'email'? or give a default: ?? ''"
    )


def test_a_missing_field_without_a_likely_name_lists_the_fields_present() -> None:
    assert failure("{{ input.lead.phone }}").hint == "the fields are 'email', 'name', 'tags'; or give a default: ?? ''"
    assert failure("{{ input.lead.tags[4] }}").message == "input.lead.tags has no item 4, its length is 1"


def test_an_error_is_plain_json() -> None:
    assert failure({"a/b": ["{{ input.lead.emial }}"]}).to_dict() == {
        "code": "E_MISSING",
        "message": "input.lead has no field 'emial'",
        "pointer": "/a~1b/0",
        "expression": "{{ input.lead.emial }}",
        "column": 15,
        "hint": "did you mean 'email'? or give a default: ?? ''",
    }


def test_an_error_survives_pickling() -> None:
    error = failure("{{ input.lead.emial }}")
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()


@pytest.mark.parametrize(
    ("expression", "marked"),
    [
        ("input.lead.name + 1", "+"),
        ("1 + input.lead.name * 2", "*"),
        ("input.lead.name < 1", "<"),
        ("len(nothing)", "len"),
        ("input.lead.tags.map(t => t.x)", "x)"),
        ("input.lead.tags.filter(t => t)", "=>"),
        ("true && nothing", "nothing"),
        ("nothing ? 1 : 2", "nothing"),
        ("!nothing", "!"),
        ("-nothing", "-"),
        ("1 in 2", "in 2"),
        ("input.lead.tags['a']", "'a'"),
        ("nope.x", "nope"),
        ("input.lead.name.upperr()", "upperr"),
        ("len(1, 2)", "len"),
        ("[1].map(2)", "2"),
        ("1 + + 2", "+ 2"),
        ("(1", ""),
    ],
)
def test_the_column_points_at_the_cause(expression: str, marked: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate_expression(expression, CONTEXT)
    column = caught.value.column
    assert column is not None
    assert expression[column - 1 :].startswith(marked)
    assert caught.value.expression == expression


def test_columns_in_mixed_text_count_in_their_own_braces() -> None:
    error = failure("Dear {{ input.lead.name }},\nyour {{ input.lead.emial }} is wrong")
    assert error.expression == "{{ input.lead.emial }}"
    assert error.column == 15


def test_the_caret_stands_in_its_line_and_long_lines_are_cut() -> None:
    assert str(failure("{{\n  input.lead\n    .emial }}")).split("\n")[1:3] == [
        "        .emial }}",
        "         ^ column 22",
    ]
    error = failure("{{ '" + "x" * 3_000 + "' + input.lead.emial + '" + "y" * 3_000 + "' }}")
    lines = str(error).split("\n")
    assert all(len(line) < 120 for line in lines)
    assert lines[1][lines[2].index("^") :].startswith("emial")


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("a = 1", "compare with '=='; an expression cannot assign"),
        ("1 < 2 < 3", "write a < b && b < c"),
        ("lenn('a')", "did you mean 'len'?"),
        ("len('a', 'b')", "use len(x)"),
        ("'a'.toUpperCase()", "here it is 'upper'"),
        ("length([1])", "here it is 'len'"),
        ("[1].push(2)", "[1] + [2] joins two lists"),
        ("1 if true else 2", "write a choice as: condition ? this : that"),
        ("nothing.x", "read through null with '?.', or give a default: ?? ''"),
        ("input.lead.name && true", "compare it: x != null, x != '', len(x) > 0, or has(x)"),
        ("inptu.lead", "did you mean 'input'?"),
        ("now()", "only the steps of a running workflow have it"),
        ("[1].sort_by(2)", "use sort_by(list, x => key, 'asc'|'desc'?)"),
        ("1 / 0", "test the divisor first: b == 0 ? 0 : a / b"),
        ("'\\d'", "the escapes are \\\\ \\' \\\" \\n \\t \\r \\uXXXX; write \\\\ for a backslash"),
        ("x => 1", "a function like x => x.name stands only as an argument of another: items.map(x => x.name)"),
    ],
)
def test_the_hint_names_the_way_out(expression: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate_expression(expression, CONTEXT)
    assert caught.value.hint == hint


def test_names_of_other_languages_lead_to_functions_that_exist() -> None:
    named = [(hint or "").removeprefix("here it is '")[:-1] for hint in map(foreign_hint, SAME)]
    assert set(named) <= set(FUNCTIONS)
    assert not set(SAME) & {name.replace("_", "") for name in FUNCTIONS}


def test_null_in_text_hints_at_a_default() -> None:
    error = failure("Hello {{ nothing }}")
    assert (error.code, error.hint) == ("E_NULL", "give a default: ?? ''")


def test_a_condition_must_be_boolean() -> None:
    assert compile_expression("input.lead.name == 'Ada'").evaluate_condition(CONTEXT) is True
    assert compile_expression("{{ has(input.zip) }}").evaluate_condition(CONTEXT) is False
    for source in ("nothing", "1", "'true'", "[]", "input"):
        with pytest.raises(ExpressionError) as caught:
            compile_expression(source, pointer="/steps/0/when").evaluate_condition(CONTEXT)
        assert (caught.value.code, caught.value.pointer) == ("E_TYPE", "/steps/0/when")
        assert caught.value.hint


def test_braces_around_a_bare_expression_are_accepted_and_mixed_text_is_not() -> None:
    assert evaluate_expression("{{ 1 + 1 }}", {}) == 2
    assert evaluate_expression("  {{ {a: {b: 1}}.a.b }}  ", {}) == 1
    for source in ("{{ 1 }} text", "text {{ 1 }}", "{{ 1 }}{{ 2 }}", "1 == {{ 1 }}", ""):
        with pytest.raises(ExpressionError, match="E_SYNTAX"):
            compile_expression(source)


def test_half_of_a_surrogate_pair_never_breaks_a_message() -> None:
    for source in ("'\ud800' + 1", "\ud800", "x.\ud800", "from_json('\ud800')", "number('\ud800')"):
        with pytest.raises(ExpressionError) as caught:
            evaluate_expression(source, {"x": {"\ud800": 1}})
        str(caught.value).encode()
    assert evaluate_expression("x", {"x": "\ud800"}) == "\ud800"


class Broken(Mapping[str, Json]):
    """A context that fails in ways of its own."""

    def __getitem__(self, key: str) -> Json:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def test_whatever_python_raises_leaves_as_our_error() -> None:
    for source in ("a", "a.b", "steps.a.output", "a ?? 1"):
        with pytest.raises(ExpressionError):
            evaluate_expression(source, Broken())
        with pytest.raises(ExpressionError):
            compile_template([f"x {{{{ {source} }}}}"]).render(Broken())
    with pytest.raises(ExpressionError, match="not JSON"):
        evaluate_expression("a", {"a": object()})
    with pytest.raises(ExpressionError):
        evaluate_expression("a + 1", {"a": object()})


def test_steps_and_their_records_may_be_lazy() -> None:
    class Lazy(Mapping[str, Json]):
        def __getitem__(self, key: str) -> Json:
            if key in ("fetch", "output"):
                return self if key == "fetch" else {"rows": [1]}
            raise KeyError(key)

        def __iter__(self) -> Iterator[str]:
            return iter(["fetch", "output"])

        def __len__(self) -> int:
            return 2

    context = {"steps": Lazy()}
    assert evaluate_expression("steps.fetch.output.rows[0]", context) == 1
    assert evaluate_expression("steps.fetch.status ?? 'none'", context) == "none"
    with pytest.raises(ExpressionError, match="did you mean 'fetch'"):
        evaluate_expression("steps.fetsh.output", context)


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("emial", ["email", "name"], "email"),
        ("fetch_news", ["fetch-news", "fetch"], "fetch-news"),
        ("FetchNews", ["fetch-news"], "fetch-news"),
        ("stpes", ["steps", "input"], "steps"),
        ("agent_taks", ["agent_task", "api_call"], "agent_task"),
        ("phone", ["email", "name"], None),
        ("", ["a"], None),
        ("a", [], None),
        ("ab", ["abc", "xb", "aab"], "aab"),
        ("x" * 65, ["x" * 66], None),
    ],
)
def test_the_nearest_name_is_suggested(name: str, candidates: list[str], expected: str | None) -> None:
    assert suggest(name, candidates) == expected
    assert suggest(name, reversed(candidates)) == expected


def test_suggestions_stay_fast_on_long_names_and_many_candidates() -> None:
    started = time.process_time()
    assert suggest("k" * 1_000_000, ["k" * 999_999] * 1_000) is None
    assert suggest("name", ["k" * 1_000_000] * 1_000) is None
    suggest("step_with_a_long_name_that_is_not_there", [f"step_with_a_long_name_{n:05}" for n in range(50_000)])
    with pytest.raises(ExpressionError):
        evaluate_expression("x[key]", {"x": {"k" * 100_000 + str(n): n for n in range(100)}, "key": "k" * 100_000})
    assert time.process_time() - started < 2
