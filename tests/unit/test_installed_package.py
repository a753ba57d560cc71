"""What an installed package has, and what comes with the repository alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from orchestrator.commands import demo
from orchestrator.commands.outcome import USAGE, CommandError


def test_type_checkers_read_the_types_of_the_package() -> None:
    assert files("orchestrator").joinpath("py.typed").is_file()


def test_a_demo_without_the_repository_says_so_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "site-packages" / "orchestrator" / "commands" / "demo.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="comes with the repository") as caught:
        demo.demo()
    assert caught.value.code == USAGE


def test_a_demo_takes_the_examples_of_the_folder_that_it_is_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "site-packages" / "orchestrator" / "commands" / "demo.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / demo.DEFINITION).write_text("{}")
    assert demo._examples() == tmp_path / "examples"
