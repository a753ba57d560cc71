"""The purity check finds what replay cannot stand, and leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_purity import check_source, check_tree, main

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random as r",
        "from uuid import uuid4",
        "from time import monotonic as m",
        "import os\nx = os.environ['A']",
        "import os as o\nx = o.getenv('A')",
        "from os import environ",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime as d\nx = d.datetime.utcnow()",
        "from datetime import date\nx = date.today()",
        "import asyncio\nasync def f(t):\n    await asyncio.wait(t)",
        "from asyncio import as_completed",
        "x = open('f')",
        "def f(p):\n    return p.read_text()",
        "x = id(object())",
        "x = hash('a')",
        "print('x')",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "z = [x for x in frozenset(y)]",
        "z = {x: 1 for x in {a for a in y}}",
        "s = set(y)\nfor x in s: pass",
        "def f(s: set[str]):\n    for x in s: pass",
        "def f(s: 'frozenset[str]'):\n    return list(s)",
        "from typing import Final\nS: Final[frozenset[str]] = y\nx = tuple(S)",
        "from collections.abc import Set\ndef f(s: Set[str]):\n    return [*s]",
        "z = list(set(a) | b)",
        "z = ','.join({x for x in y})",
        "z = dict.fromkeys(set(y))",
        "s = set(y)\nx = s.pop()",
        "z = enumerate(set(a) - set(b))",
        "z = next(iter(set(a).union(b)))",
        "async def f():\n    async for x in y:\n        for z in {1}: pass",
    ],
)
def test_what_differs_between_two_replays_is_found(source: str) -> None:
    assert check_source(source, "m.py")


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, timedelta\nx: datetime = y + timedelta(1)",
        "import asyncio\nx = asyncio.Event()",
        "import os.path\nx = os.path.join('a', 'b')",
        "for x in sorted({1, 2}): pass",
        "x = len(set(y)) + sum(set(y))",
        "x = 3 in {1, 2}",
        "x = any(a in y for a in sorted(set(y)))",
        "x = {a for a in set(y)}",
        "x = {*set(y)}",
        "s = set(y)\ns = sorted(s)\nfor x in s: pass",
        "def f(s: list[str]):\n    for x in s: pass",
        "class A:\n    def __hash__(self):\n        return hash(self.a)",
        "def f(hash):\n    return self.hash(1)",
        "x = self.time\ny = step.id(3)",
        "x = 'import time'",
    ],
)
def test_what_is_the_same_in_every_replay_passes(source: str) -> None:
    assert check_source(source, "m.py") == []


def test_a_mark_with_a_reason_excuses_its_line_only() -> None:
    source = "for x in {1}: pass  # pure: adding numbers has no order\nfor x in {1}: pass\n"
    assert [finding.line for finding in check_source(source, "m.py")] == [2]


def test_a_mark_without_a_reason_or_without_a_finding_is_a_finding() -> None:
    assert any("needs its reason" in str(finding) for finding in check_source("x = hash(1)  # pure:", "m.py"))
    assert any("excuses nothing" in str(finding) for finding in check_source("x = 1  # pure: once impure", "m.py"))


def test_a_mark_in_a_string_excuses_nothing() -> None:
    assert check_source("x = (hash('# pure: no'))", "m.py")


def test_a_finding_in_a_tree_is_printed_with_its_place_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "orchestrator" / "execution"
    folder.mkdir(parents=True)
    (folder / "clean.py").write_text("x = 1\n")
    assert main([str(tmp_path)]) == 0
    (folder / "dirty.py").write_text("\nimport time\n")
    assert main([str(tmp_path)]) == 1
    assert "orchestrator/execution/dirty.py:2: time reads the clock" in capsys.readouterr().out


def test_the_pure_packages_are_pure() -> None:
    assert [str(finding) for finding in check_tree(ROOT)] == []
