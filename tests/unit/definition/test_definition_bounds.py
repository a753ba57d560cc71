"""Every bound of a definition has its own error, at the bound itself, and big documents are checked in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest

from orchestrator.definition import limits, validate_definition
from tests.unit.definition.documents import Json, agent, document, switch, value

GENEROUS_SECONDS = 10.0
"""Measured: under one second each."""


def codes(sent: Json) -> list[str]:
    return [issue.code for issue in validate_definition(sent).errors]


def sized(size: int) -> Json:
    """Return a valid definition of so many bytes; texts with expressions are bounded below that."""
    bare = len(orjson.dumps(document(value("a", ""))))
    return document(value("a", "x" * (size - bare)))


def nested(depth: int) -> Json:
    """Return a definition whose scopes are so deep; the root is 1."""
    steps = [value("innermost")]
    for number in range(depth - 1):
        steps = [switch(f"b{number}", *steps)]
    return document(*steps)


def test_one_mebibyte_is_allowed_and_not_a_byte_more() -> None:
    assert codes(sized(limits.DOCUMENT_BYTES)) == []
    assert codes(sized(limits.DOCUMENT_BYTES + 1)) == ["document-too-large"]


def test_five_thousand_steps_are_allowed_and_not_one_more() -> None:
    steps = [value(f"s{number}") for number in range(limits.STEPS)]
    assert codes(document(*steps)) == []
    assert codes(document(*steps, value("more"))) == ["too-many-steps"]


def test_inner_steps_count() -> None:
    half = [value(f"s{number}") for number in range(2_500)]
    other = [value(f"t{number}") for number in range(2_499)]
    assert codes(document(switch("a", *half), *other)) == []
    assert codes(document(switch("a", *half), *other, agent("b", on_error=[{"steps": [value("h")]}]))) == [
        "too-many-steps"
    ]


def test_thirty_two_scopes_inside_each_other_are_allowed_and_not_one_more() -> None:
    assert codes(nested(limits.NESTING)) == []
    assert codes(nested(limits.NESTING + 1)) == ["too-deep"]


def test_a_hundred_thousand_lists_inside_each_other_are_an_error() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert codes(document(value("a", deep))) == ["invalid-json"]


def test_step_ids_have_64_characters_at_most() -> None:
    assert codes(document(value("a" * 64))) == []
    assert codes(document(value("a" * 65))) == ["id-too-long"]
    branches = {"b" * 65: {"steps": [value("a")]}}
    assert codes(document({"step_id": "p", "step_type": "parallel", "branches": branches})) == ["id-too-long"]


def test_workflow_ids_have_63_characters_at_most() -> None:
    child = {"step_id": "c", "step_type": "workflow", "workflow_id": "w" * 64}
    assert codes(document(value("a"), workflow_id="w" * 63)) == []
    assert codes(document(value("a"), workflow_id="w" * 64)) == ["id-too-long"]
    assert codes(document(child)) == ["id-too-long"]


def test_tags_may_fill_what_a_start_can_carry() -> None:
    bare = len(orjson.dumps(["k=", "m=" + "v" * 256] + [f"t{number}=" + "v" * 250 for number in range(6)]))
    tags = {"k": "v" * (limits.TAGS_BYTES - bare), "m": "v" * 256} | {f"t{number}": "v" * 250 for number in range(6)}
    assert codes(document(value("a"), tags=tags)) == []
    assert codes(document(value("a"), tags={**tags, "k": tags["k"] + "v"})) == ["tags-too-large"]


def test_a_wait_lasts_ten_years_at_most() -> None:
    def wait(seconds: float) -> list[str]:
        return codes(document({"step_id": "w", "step_type": "wait", "seconds": seconds}))

    assert wait(limits.LONGEST_SECONDS) == []
    assert wait(limits.LONGEST_SECONDS + 1) == ["invalid-value"]
    assert wait(-1) == ["invalid-value"]


BIG: dict[str, Callable[[int], Json]] = {
    "a chain": lambda n: value(f"s{n}", depends_on=[f"s{n - 1}"] if n else []),
    "a chain of reads": lambda n: value(f"s{n}", f"{{{{ steps.s{n - 1}.output }}}}" if n else 1),
    "everything on the first": lambda n: value(f"s{n}", "{{ steps.s0.output }}" if n else 1),
    "unknown reads": lambda n: value(f"s{n}", f"{{{{ steps.zz{n}.output }}}}"),
    "unknown dependencies": lambda n: value(f"s{n}", depends_on=[f"zz{n}"]),
    "unknown types": lambda n: {"step_id": f"s{n}", "step_type": "transfrom"},
    "unknown fields": lambda n: value(f"s{n}", wen=True),
    "one id": lambda n: value("same"),
    "syntax errors": lambda n: value(f"s{n}", "{{ 1 + }}"),
    "one variable": lambda n: {"step_id": f"s{n}", "step_type": "assign", "values": {"x": "{{ vars.x }}"}},
    "a variable each": lambda n: {"step_id": f"s{n}", "step_type": "assign", "values": {f"x{n}": "{{ vars }}"}},
    "one cycle": lambda n: value(f"s{n}", depends_on=[f"s{(n + 1) % 5_000}"]),
}


@pytest.mark.parametrize("kind", BIG)
def test_five_thousand_steps_are_checked_in_bounded_time(kind: str) -> None:
    sent = document(*(BIG[kind](number) for number in range(limits.STEPS)))
    began = time.process_time()
    validate_definition(sent)
    assert time.process_time() - began < GENEROUS_SECONDS


def test_thousands_of_blocks_and_thousands_of_edges_are_checked_in_bounded_time() -> None:
    blocks = document(*(switch(f"b{number}", value(f"i{number}")) for number in range(2_500)))
    edges = document(
        *(value(f"s{number}", depends_on=[f"s{before}" for before in range(number)]) for number in range(450))
    )
    began = time.process_time()
    assert codes(blocks) == []
    assert codes(edges) == []
    assert time.process_time() - began < GENEROUS_SECONDS
