"""What the reference model is made of: fates, what happened inside them, and the generated expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEVER = 1 << 62
SECOND = 1_000_000
_READ = re.compile(r"steps\.(\w+)\.(output|status)( \?\?)?")


class Ambiguous(Exception):
    """Two things happen at the same moment and the page does not order them."""


class Broken(Exception):
    """An expression fails."""


@dataclass(frozen=True)
class Error:
    """What went wrong and who carried it."""

    type: str
    step: str | None
    via: str | None = None


@dataclass
class Trace:
    """What happened inside: beginnings of activities, final states, assignments, what can be undone."""

    starts: list[tuple[int, str]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    assigns: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    undo: list[tuple[int, dict[str, Any], str, Env]] = field(default_factory=list)

    def add(self, other: Trace, *, assigns: bool = True) -> None:
        """Take in what happened elsewhere."""
        self.starts += other.starts
        self.states |= other.states
        self.undo += other.undo
        if assigns:
            self.assigns += other.assigns


@dataclass
class Fate:
    """How a step, or a scope, ends. `finish` is the moment at which a `finish` inside ends the execution."""

    state: str
    begin: int
    end: int
    output: Any = None
    error: Error | None = None
    tolerated: bool = False
    trace: Trace = field(default_factory=Trace)
    finish: int | None = None
    value: Any = None
    errors: Any = None

    @property
    def strikes(self) -> int:
        """The first moment at which it matters to what is around it."""
        return self.end if self.finish is None else self.finish


@dataclass(frozen=True)
class Env:
    """What expressions see: outer steps' fates, and names."""

    steps: Mapping[str, Fate] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, steps: Mapping[str, Fate], **names: Any) -> Env:
        """Return what stands inside sees."""
        return Env({**self.steps, **steps}, {**self.names, **names})


def reads(value: Any) -> dict[str, bool]:
    """Return the steps that a part of a definition names; True where a read is strict."""
    found: dict[str, bool] = {}
    for name, what, lenient in _READ.findall(json.dumps(value)):
        found[name] = found.get(name, False) or (what == "output" and not lenient)
    return found


@dataclass
class Group:
    """How branches or items ended."""

    fate: Fate
    outputs: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    verdict: bool | None = None


BLOCKS = ("switch", "parallel", "foreach", "loop")


def holds(condition: Any, env: Env) -> bool:
    """Judge a condition of the generated kinds."""
    if isinstance(condition, bool):
        return condition
    if match := re.fullmatch(r"steps\.(\w+)\.status == '(\w+)'", condition):
        return env.steps[match[1]].state == match[2]
    if match := re.fullmatch(r"\(steps\.(\w+)\.output \?\? 0\) > (\d+)", condition):
        found = env.steps[match[1]].output
        return _above(0 if found is None else found, int(match[2]))
    if match := re.fullmatch(r"steps\.(\w+)\.output > (\d+)", condition):
        return _above(env.steps[match[1]].output, int(match[2]))
    if match := re.fullmatch(r"(item|loop\.iteration) (<|>=) (\d+)", condition):
        found = env.names["item" if match[1] == "item" else "iteration"]
        return bool(found < int(match[3]) if match[2] == "<" else found >= int(match[3]))
    raise Broken


def value_of(template: Any, env: Env) -> Any:
    """Render a template of the generated kinds."""
    if isinstance(template, dict):
        return {key: value_of(value, env) for key, value in template.items()}
    if not isinstance(template, str) or "{{" not in template:
        return template
    if match := re.fullmatch(r"\{\{ steps\.(\w+)\.(output|status)( \?\? null)? \}\}", template):
        fate = env.steps[match[1]]
        return fate.output if match[2] == "output" else fate.state
    if match := re.fullmatch(r"\{\{ (?:loop\.)?(\w+) \}\}", template):
        return env.names[match[1]]
    raise Broken


def _above(found: Any, bound: int) -> bool:
    if isinstance(found, bool) or not isinstance(found, int):
        raise Broken
    return found > bound
