"""The golden corpora: frozen for version 1 of the language. A case may be added, never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.expressions import ExpressionError, Json, compile_expression, compile_template

FILES = sorted(Path(__file__).parent.glob("corpus_*.json"))


class FixedHost:
    """A workflow whose clock stands still."""

    def now(self) -> str:
        return "2026-03-02T10:00:00Z"

    def uuid(self) -> str:
        return "123e4567-e89b-42d3-a456-426614174000"


def load(path: Path) -> list[Any]:
    corpus = json.loads(path.read_text(encoding="utf-8"))
    assert corpus["language_version"] == 1
    name = path.stem.removeprefix("corpus_")
    return [
        pytest.param(corpus["context"], case, id=f"{name}-{case.get('name', number)}")
        for number, case in enumerate(corpus["cases"])
    ]


def run(case: dict[str, Json], context: Json) -> Json:
    if "template" in case:
        return compile_template(case["template"]).render(context, host=FixedHost())
    return compile_expression(case["expression"]).evaluate(context, host=FixedHost())


@pytest.mark.parametrize(("context", "case"), [case for path in FILES for case in load(path)])
def test_a_case_of_the_corpus_gives_its_value_or_its_error(context: Json, case: dict[str, Json]) -> None:
    before = json.dumps(context)
    if "error" in case:
        with pytest.raises(ExpressionError) as caught:
            run(case, context)
        assert caught.value.code == case["error"], str(caught.value)
        assert caught.value.column == case.get("column"), str(caught.value)
    else:
        # Compared as JSON, because 1 == 1.0 == True in Python.
        assert json.dumps(run(case, context)) == json.dumps(case["value"])
    assert json.dumps(context) == before, "the context was changed"


def test_the_corpora_hold_hundreds_of_cases() -> None:
    assert sum(len(load(path)) for path in FILES) >= 700


def test_every_function_appears_in_the_corpora() -> None:
    from orchestrator.expressions.table import FUNCTIONS

    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    assert [name for name in FUNCTIONS if f"{name}(" not in text] == []
