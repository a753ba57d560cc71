"""Same inputs, same limits: same value or same error, on every worker and every replay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from orchestrator.expressions import Json, compile_expression, compile_template

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import json, sys
from pathlib import Path
from orchestrator.expressions import ExpressionError, Meter, compile_expression, compile_template, suggest
results = []
for path in sorted(Path(sys.argv[1]).glob("corpus_*.json")):
    corpus = json.loads(path.read_text(encoding="utf-8"))
    for case in corpus["cases"]:
        meter = Meter()
        try:
            if "template" in case:
                value = compile_template(case["template"]).render(corpus["context"], meter=meter)
            else:
                value = compile_expression(case["expression"]).evaluate(corpus["context"], meter=meter)
        except ExpressionError as error:
            value = error.to_dict()
        results.append([value, meter.work])
results.append(suggest("nmae", {"name", "mane", "nema", "same"}))
print(json.dumps(results))
"""


def test_two_hash_seeds_give_the_same_values_errors_and_work() -> None:
    outputs = []
    for seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )
        outputs.append(json.loads(done.stdout))
    assert len(outputs[0]) > 700
    assert outputs[0] == outputs[1]


def test_results_share_with_the_context_and_never_change_it() -> None:
    context: dict[str, Json] = {"rows": [{"a": [1]}, {"a": [2]}], "more": {"k": {"v": 1}}}
    before = json.dumps(context)
    value = compile_expression("rows.filter(r => true).map(r => merge(r, more, {b: r.a}))").evaluate(context)
    assert value[0]["k"] is context["more"]["k"]
    for expression in (
        "rows.sort_by(r => r.a[0], 'desc')",
        "rows.reverse()",
        "rows.unique()",
        "rows.group_by(r => 'x')",
        "rows.reduce((t, r) => t + r.a, [])",
        "rows.flat_map(r => r.a)",
        "omit(more, 'k')",
        "from_entries(entries(more))",
    ):
        compile_expression(expression).evaluate(context)
    compile_template({"x": ["{{ rows }}", {"y": "{{ more }}"}]}).render(context)
    assert json.dumps(context) == before


def test_a_compiled_expression_keeps_no_state_between_evaluations() -> None:
    expression = compile_expression("rows.map((r, i) => rows.map(s => r * s + i)).flatten().sum()")
    assert expression.evaluate({"rows": [1, 2]}) == 11
    assert expression.evaluate({"rows": []}) == 0
    assert expression.evaluate({"rows": [1, 2]}) == 11


def test_names_of_parameters_shadow_names_of_the_context_and_each_other() -> None:
    context = {"x": 10, "rows": [[1, 2], [3]]}
    assert compile_expression("rows.map(x => x.map(x => x + 1)) + [x]").evaluate(context) == [[2, 3], [4], 10]
    assert compile_expression("rows.map(x => x.len() + x.map(y => y).sum()).sum() + x").evaluate(context) == 19
