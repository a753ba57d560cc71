"""What the expression engine costs, beside the figures that its design promises.

    python benchmarks/expressions.py [--json]

A figure is the fastest of many rounds, in processor time: the rest is the noise of the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.expressions import (
    ExpressionError,
    Json,
    Meter,
    compile_expression,
    compile_template,
)

FIGURES_MICROSECONDS = {
    "field": 0.6,
    "condition": 2.2,
    "filter_map_3_items": 4.8,
    "field_of_460_kb_context": 0.6,
    "parameters_7_expressions_1000_items": 16_000.0,
    "compile_short": 40.0,
    "compile_5000_expressions": 2_000_000.0,
}
"""What to reach, by name; a prototype's measurements, good to 40 %."""

HOSTILE = [
    "shared",
    "shared == shared",
    "shared | to_json",
    "[shared] | unique",
    "[object] | unique",
    "rows.unique()",
    "json_text.from_json()",
    "range(0, 20000).map(i => {a: {b: {}}})",
    "range(0, 20000).map(i => [[[[]]]])",
    "range(0, 20000).map(i => string(i))",
    "range(0, 20000).map(i => rows)",
    "range(0, 60).reduce((t, i) => t + t, 'ab')",
    "range(0, 60).reduce((t, i) => [t, t], 1)",
    "range(0, 400).map(a => range(0, 400).map(b => range(0, 400)))",
    "big.matches('(a{1,30}){1,30}b')",
    "range(0, 2000).map(i => 'a'.matches('(a{1,30}){1,30}' + string(i)))",
    "big.replace('a', 'bbbb')",
    "date_format('2026-01-01', '%A'.repeat(500000))",
]


def context() -> dict[str, Json]:
    """Return a lead with three contacts, as the golden corpus has it."""
    contacts = [{"name": n, "score": s, "email": f"{n}@x.io"} for n, s in (("bob", 80), ("cy", 40), ("di", 95))]
    return {
        "input": {"lead": {"email": "ada@analytical.io", "score": 72, "tags": ["vip", "inbound"]}, "threshold": 50},
        "steps": {"enrich": {"status": "completed", "output": {"contacts": contacts}}},
    }


def hostile_context() -> dict[str, Json]:
    """Return large and shared values."""
    shared: Json = 1
    for _ in range(60):
        shared = [shared, shared]
    return {
        "shared": shared,
        "big": "a" * 1_000_000,
        "rows": [{"id": n, "name": f"n{n}", "tags": ["a", "b"]} for n in range(10_000)],
        "object": {f"k{n}": n for n in range(50_000)},
        "json_text": json.dumps([{"a": n} for n in range(60_000)]),
    }


def best(run: Callable[[], object], seconds: float = 0.5) -> float:
    """Return the fewest microseconds of one call over about `seconds`."""
    run()
    started = time.process_time()
    run()
    calls = max(1, int(0.02 / max(time.process_time() - started, 1e-7)))
    found = float("inf")
    end = time.process_time() + seconds
    while time.process_time() < end:
        started = time.process_time()
        for _ in range(calls):
            run()
        found = min(found, (time.process_time() - started) / calls)
    return found * 1e6


def measure() -> dict[str, float]:
    """Return the microseconds of every figure."""
    values = context()
    large = {**values, "more": [{"text": "x" * 90, "n": n} for n in range(4_000)]}
    rows = {"rows": [{"id": n, "name": f"name {n}", "score": n % 100, "tags": ["a"]} for n in range(1_000)]}
    field = compile_expression("input.lead.email")
    condition = compile_expression("input.lead.score >= input.threshold && 'vip' in input.lead.tags")
    pipeline = compile_expression("steps.enrich.output.contacts.filter(c => c.score > 50).map(c => c.name)")
    parameters = compile_template(
        {
            "count": "{{ len(rows) }}",
            "names": "{{ rows.filter(r => r.score > 50).map(r => r.name) }}",
            "total": "{{ rows.sum(r => r.score) }}",
            "top": "{{ rows.sort_by(r => r.score, 'desc').slice(0, 10) }}",
            "objects": "{{ rows.map(r => {id: r.id, label: r.name + '!'}) }}",
            "any": "{{ rows.any(r => r.score == 99) }}",
            "text": "{{ rows.map(r => r.name) | join(', ') | truncate(200) }}",
        }
    )
    sources = [f"steps.step_{n}.output.items.filter(i => i.score > {n}).len() > 0" for n in range(5_000)]
    return {
        "field": best(lambda: field.evaluate(values)),
        "condition": best(lambda: condition.evaluate(values)),
        "filter_map_3_items": best(lambda: pipeline.evaluate(values)),
        "field_of_460_kb_context": best(lambda: field.evaluate(large)),
        "parameters_7_expressions_1000_items": best(lambda: parameters.render(rows)),
        "compile_short": best(lambda: compile_expression("input.lead.score > 50")),
        "compile_5000_expressions": best(lambda: [compile_expression(source) for source in sources], 3.0),
    }


def measure_hostile() -> tuple[float, str, float]:
    """Return the milliseconds of the worst hostile payload, the payload, and the most megabytes of any."""
    values = hostile_context()
    worst, culprit, most = 0.0, "", 0.0
    for source in HOSTILE:
        expression = compile_expression(source)

        def run(expression=expression) -> None:  # type: ignore[no-untyped-def]
            with suppress(ExpressionError):
                expression.evaluate(values, meter=Meter())

        took = best(run, 0.3) / 1_000
        if took > worst:
            worst, culprit = took, source
        tracemalloc.start()
        run()
        most = max(most, tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return worst, culprit, most


def main() -> None:
    """Print the figures; with `--json` one line of JSON comes last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    arguments = parser.parse_args()
    write = sys.stdout.write
    figures = measure()
    for name, value in figures.items():
        write(f"{name:38} {value:12.2f} µs   (to reach: {FIGURES_MICROSECONDS[name]:.1f})\n")
    milliseconds, culprit, megabytes = measure_hostile()
    write(f"{'worst_hostile':38} {milliseconds:12.1f} ms   (to reach: 200)   {culprit}\n")
    write(f"{'most_memory_hostile':38} {megabytes:12.1f} MB   (to reach: 50)\n")
    if arguments.json:
        result = {f"{name}_us": round(value, 3) for name, value in figures.items()}
        result |= {"worst_hostile_ms": round(milliseconds, 1), "most_memory_hostile_mb": round(megabytes, 1)}
        write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
