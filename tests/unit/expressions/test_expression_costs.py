"""Hostile inputs: every built-in over 20,000 iterations or 1 MB arguments ends soon, with a value or an error."""

from __future__ import annotations

import json
import time

import pytest

from orchestrator.expressions import ExpressionError, Json, Limits, Meter, compile_expression, compile_template
from orchestrator.expressions.table import FUNCTIONS

# On an idle machine the worst takes 0.1 s; a guard, not a measurement: the test machines are shared.
GUARD_SECONDS = 2.0


def shared(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value, value]
    return value


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


BIG = "a" * 1_000_000
CONTEXT: dict[str, Json] = {
    "big": BIG,
    # Equal but not the same object: identity must not make a comparison free.
    "big2": "".join(["a"] * 1_000_000),
    "wide": "ß" * 1_000_000,
    "half": "\ud800x" * 1_000,
    "list": list(range(100_000)),
    "words": [f"w{number}" for number in range(50_000)],
    "bigs": [BIG] * 1_000,
    "object": {f"k{number}": number for number in range(50_000)},
    "big_key": {BIG: 1},
    "rows": [{"id": number, "name": f"n{number}", "tags": ["a", "b"]} for number in range(10_000)],
    "shared": shared(60),
    "deep": nested(500),
    "json_text": json.dumps([{"a": number} for number in range(60_000)]),
    "brackets": "[" * 500_000,
    "empties": "[" + "{}," * 300_000 + "{}]",
    "digits": "9" * 1_000_000,
    "huge": 10**4_000,
    "nan": float("nan"),
    "infinite": float("inf"),
}

ONCE = {
    "len": "big.len()",
    "first": "list.first()",
    "last": "list.last()",
    "map": "list.map(x => x)",
    "filter": "list.filter(x => x > 1)",
    "find": "list.find(x => x < 0)",
    "any": "list.any(x => x < 0)",
    "all": "list.all(x => x >= 0)",
    "flat_map": "[1, 2, 3].flat_map(x => list)",
    "reduce": "list.reduce((t, x) => t + x, 0)",
    "sort": "words.sort('desc')",
    "sort_by": "rows.sort_by(r => r.name)",
    "group_by": "bigs.group_by(b => b)",
    "sum": "list.sum()",
    "min": "bigs.min()",
    "max": "bigs.max()",
    "unique": "rows.unique()",
    "flatten": "flatten([list, list])",
    "reverse": "list.reverse()",
    "slice": "list.slice(1)",
    "range": "range(100000).len()",
    "join": "bigs.join(big)",
    "zip": "zip(list, list)",
    "merge": "merge(object, object)",
    "pick": "pick(object, words)",
    "omit": "omit(object, words)",
    "keys": "keys(object)",
    "values": "values(object)",
    "entries": "entries(object)",
    "from_entries": "entries(object).from_entries()",
    "has": "has(big_key, big2)",
    "default": "default(big_key[big2], 1)",
    "upper": "wide.upper()",
    "lower": "big.lower()",
    "trim": "big.trim()",
    "split": "big.split('a')",
    "replace": "big.replace('a', big2)",
    "contains": "big.contains('aaab')",
    "starts_with": "big.starts_with(big2)",
    "ends_with": "big.ends_with(big2)",
    "truncate": "big.truncate(999999)",
    "repeat": "big.repeat(1000000)",
    "matches": "big.matches('(a{1,30}){1,30}b')",
    "extract": "big.extract('(x+x+)+y')",
    "url_encode": "wide.url_encode()",
    "base64_encode": "wide.base64_encode()",
    "base64_decode": "big.base64_decode()",
    "sha256": "big.sha256()",
    "round": "round(1.5, 400)",
    "floor": "floor(infinite)",
    "ceil": "ceil(huge)",
    "abs": "abs(huge)",
    "pow": "pow(9223372036854775807, 9223372036854775807)",
    "number": "digits.number()",
    "int": "digits.int()",
    "to_json": "rows.to_json()",
    "from_json": "json_text.from_json()",
    "string": "string(huge)",
    "type": "type(rows)",
    "now": "now()",
    "uuid": "uuid()",
    "date_add": "date_add(big, big)",
    "date_diff": "date_diff(big, big)",
    "date_format": "date_format('2026-01-01', '%A'.repeat(500000))",
}

LOOPS = {
    **{name: call for name, call in ONCE.items() if name not in ("now", "uuid")},
    "slice": "list.slice(1, 2)",
    "date_add": "date_add('2026-01-01T00:00:00Z', '1d2h3m4s')",
    "date_diff": "date_diff('2026-01-01', '2026-01-02')",
    "date_format": "date_format('2026-01-01', '%A')",
    "matches": "matches('a', 'a' + string(i))",
    "string": "string(i)",
    "round": "round(i / 7, 2)",
    "truncate": "big.truncate(3)",
}

HOSTILE = [
    "range(0, 20000).filter(i => big == big2)",
    "range(0, 20000).filter(i => [big] == [big2])",
    "range(0, 20000).filter(i => big < big2)",
    "range(0, 20000).map(i => big_key[big2])",
    "range(0, 20000).filter(i => big in {a: 1})",
    "range(0, 20000).reduce((t, i) => t + 'xxxxxxxxxx', '')",
    "range(0, 60).reduce((t, i) => t + t, 'ab')",
    "range(0, 60).reduce((t, i) => t + t, [1])",
    "range(0, 400).map(a => range(0, 400).map(b => range(0, 400)))",
    "list.map(a => list.map(b => a))",
    "words.filter(w => w in words)",
    "rows.filter(r => rows.contains(r))",
    "range(0, 20000).map(i => rows)",
    "bigs",
    "brackets.from_json()",
    "empties.from_json()",
    "'\\u0000'.repeat(3000000).to_json()",
    "big.matches('(?i)(?:[a-z]{2,50}){1,20}$')",
    "range(0, 2000).map(i => 'a'.matches('(a{1,30}){1,30}' + string(i)))",
    "half.sha256()",
    "half.matches('x')",
    "half.number()",
    "half.url_encode()",
    "huge * 1.5",
    "huge // 7",
    "pow(huge, 3)",
    "round(huge, -3)",
    "nan + 1",
    "infinite | int",
    "[nan, infinite] | to_json",
    "deep",
    "deep == deep",
    "deep | string",
    "object.missing",
    "big_key.missing",
]


def outcome(expression: str) -> str:
    started = time.process_time()
    meter = Meter()
    try:
        compile_expression(expression).evaluate(CONTEXT, meter=meter)
        code = "value"
    except ExpressionError as error:
        assert len(str(error)) < 2_000
        str(error).encode()
        json.dumps(error.to_dict())
        code = error.code
    assert time.process_time() - started < GUARD_SECONDS, expression
    assert meter.work > 0
    return code


def test_every_function_has_its_probes() -> None:
    assert sorted(ONCE) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", ONCE)
def test_a_function_on_a_megabyte_ends_soon(name: str) -> None:
    outcome(ONCE[name])


@pytest.mark.parametrize("name", LOOPS)
def test_a_function_in_20000_iterations_ends_soon(name: str) -> None:
    outcome(f"range(0, 20000).map(i => {LOOPS[name]})")


@pytest.mark.parametrize("expression", HOSTILE)
def test_a_hostile_payload_ends_soon(expression: str) -> None:
    assert outcome(expression) != "value"


@pytest.mark.parametrize(
    "expression",
    [
        "shared",
        "shared == shared",
        "shared | to_json",
        "shared | string",
        "[shared] | unique",
        "[shared] | join(',')",
        "{a: shared}",
        "shared in [shared]",
        "range(0, 60).reduce((t, i) => [t, t], 1)",
        "range(0, 20000).reduce((t, i) => [t], 1)",
        "range(0, 20000).reduce((t, i) => {t: t}, 1)",
        "[1]" + "".join(f".map(a{level} => [a{level}, a{level}])" for level in range(40)),
    ],
)
def test_shared_structures_end_in_a_limit(expression: str) -> None:
    assert outcome(expression) == "E_LIMIT"


def test_a_shared_structure_in_text_ends_in_a_limit() -> None:
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        compile_template("value: {{ shared }}").render(CONTEXT)


def test_a_template_that_repeats_large_values_ends_in_a_limit() -> None:
    for part in ("{{ big }}", "{{ rows }}", "{{ [rows] }}", "text {{ big }}"):
        with pytest.raises(ExpressionError, match="E_LIMIT"):
            compile_template([part] * 1_000).render(CONTEXT)


def test_one_large_value_passes_through_untouched() -> None:
    rows = [{"id": number, "text": "x" * 80} for number in range(50_000)]
    context = {"input": {"rows": rows}}
    assert compile_expression("input.rows").evaluate(context) is rows
    assert compile_template({"rows": "{{ input.rows }}"}).render(context)["rows"] is rows


def test_work_is_the_same_for_equal_inputs_whatever_they_share() -> None:
    row = {"a": [1, "x" * 100]}
    expression = compile_expression("rows.unique().len() + (rows == rows ? 1 : 0) + rows.to_json().len()")
    works = []
    for rows in ([row] * 100, [json.loads(json.dumps(row)) for _ in range(100)]):
        meter = Meter()
        expression.evaluate({"rows": rows}, meter=meter)
        works.append(meter.work)
    assert works[0] == works[1]


def test_a_loop_is_charged_before_it_runs() -> None:
    with pytest.raises(ExpressionError, match="E_LIMIT"):
        compile_expression("list.find(x => x + 1 + 1 == 2)").evaluate({"list": list(range(50_000))})


def test_the_meter_counts_all_evaluations_and_failed_ones() -> None:
    meter = Meter()
    expression = compile_expression("list.map(x => x * 2).len()")
    expression.evaluate({"list": [1, 2, 3]}, meter=meter)
    once = meter.work
    expression.evaluate({"list": [1, 2, 3]}, meter=meter)
    assert meter.work == 2 * once
    with pytest.raises(ExpressionError):
        compile_expression("missing").evaluate({}, meter=meter)
    assert meter.work > 2 * once


def test_limits_can_be_tightened() -> None:
    context = {"list": list(range(100))}
    expression = compile_expression("list.map(x => x)")
    with pytest.raises(ExpressionError, match="units of work"):
        expression.evaluate(context, limits=Limits(work_units=50))
    with pytest.raises(ExpressionError, match="memory units"):
        expression.evaluate(context, limits=Limits(memory_units=500))
    with pytest.raises(ExpressionError, match="nested deeper"):
        compile_expression("[[[list]]]", limits=Limits(result_nesting=3)).evaluate(context)
    with pytest.raises(ExpressionError, match="nested deeper"):
        compile_expression("((((1))))", limits=Limits(nesting=3))
    with pytest.raises(ExpressionError, match="longer than 8 bytes"):
        compile_expression("'ééé' + 'ééé'", limits=Limits(expression_bytes=8))


@pytest.mark.parametrize("expression", ["shared", "[shared]", "[shared] | unique", "deep | string", "bigs.join(big)"])
def test_what_ends_in_a_limit_counts_as_all_the_work_of_an_evaluation(expression: str) -> None:
    """The walk that found the limit is not free: an activation must not repeat it without end."""
    for evaluate in (
        compile_expression(expression).evaluate,
        compile_template({"x": f"{{{{ {expression} }}}}"}).render,
    ):
        meter = Meter()
        with pytest.raises(ExpressionError, match="E_LIMIT"):
            evaluate(CONTEXT, meter=meter)
        assert meter.work >= Limits().work_units


def test_a_large_result_of_many_small_parts_is_charged_by_its_parts() -> None:
    small, texts = Meter(), Meter()
    compile_expression("[s]").evaluate({"s": shared(16)}, meter=small)
    compile_expression("[s]").evaluate({"s": "x" * 3_000_000}, meter=texts)
    assert small.work > 60_000
    assert texts.work < 15_000
