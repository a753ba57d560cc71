"""Random definitions in the part of the language that the reference model knows, and how their activities go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from tests.support.machine_driver import Play

ERRORS = ("boom", "bang")
_LEAVES = ("agent_task",) * 6 + ("transform", "assign", "wait", "fail", "finish")
_WAITS = ("wait_for_signal", "approval", "workflow") * 2
_BLOCKS = ("switch", "parallel", "foreach", "loop")
_DEEPEST = 3


class _Writer:
    """Writes one document."""

    def __init__(self, draw: Callable[[Any], Any], *, blocks: bool, people: bool = False, loops: bool = False) -> None:
        self._draw = draw
        self._blocks = blocks
        self._leaves = (*_LEAVES, *_WAITS) if people else _LEAVES
        self._people = people
        self._loops = loops
        self._ids = 0

    def pick(self, *values: Any) -> Any:
        """Return one of some values; shrinks towards the first."""
        return self._draw(st.sampled_from(values))

    def chance(self, percent: int) -> bool:
        """Return True so often; shrinks towards False."""
        return bool(self._draw(st.integers(1, 100)) > 100 - percent)

    def scope(
        self, most: int, depth: int, outer: list[str], names: list[str], *, handler: bool = False
    ) -> list[dict[str, Any]]:
        """Return the steps of a scope.

        Args:
            most: how many at most.
            depth: of the scope; the root is 1.
            outer: steps around it that it may read.
            names: numbers that it sees: `item`, `loop.iteration`.
            handler: whether it stands in an `on_error` handler.
        """
        steps: list[dict[str, Any]] = []
        for _ in range(self._draw(st.integers(1, most))):
            steps.append(self._step(steps, depth, outer, names, handler=handler))
        return steps

    def _step(
        self, siblings: list[dict[str, Any]], depth: int, outer: list[str], names: list[str], *, handler: bool
    ) -> dict[str, Any]:
        earlier = [step["step_id"] for step in siblings]
        self._ids += 1
        step: dict[str, Any] = {"step_id": f"s{self._ids}"}
        if earlier and self.chance(70):
            step["depends_on"] = sorted(self._draw(st.sets(st.sampled_from(earlier), min_size=1, max_size=3)))
            count = len(step["depends_on"])
            join = self.pick("all", "all", "any", "settled", {"at_least": self._draw(st.integers(1, count))})
            if join != "all":
                step["join"] = join
        # What still runs at a join of `any` may end while inner steps look at it.
        settled = step.get("join", "all") in ("all", "settled")
        inside = [name for name in [*outer, *earlier] if settled or name not in step.get("depends_on", ())]
        readable = [*earlier, *outer]
        if self.chance(25):
            step["when"] = self._condition(readable, names)
        block = self._blocks and depth < _DEEPEST and self.chance(45)
        kind = self.pick(*_BLOCKS) if block else self.pick(*self._leaves)
        if handler and kind == "finish":
            kind = "agent_task"
        step["step_type"] = kind
        getattr(self, f"_{kind}")(step, depth, inside if block else readable, names, handler)
        if not handler:
            if self.chance(30):
                step["on_error"] = [self._handler(depth, inside, names)]
            if kind in ("agent_task", *_BLOCKS) and self.chance(20):
                undo = {"step_id": f"{step['step_id']}_undo", "step_type": "agent_task", "agent_type": "a", "task": "t"}
                step["compensate"] = undo | {"parameters": {"was": "{{ result }}"}}
        if block and self.chance(15):
            step["retry"] = {"max_attempts": 2, "initial_interval_seconds": self.pick(1, 7)}
        return step

    def _condition(self, readable: list[str], names: list[str]) -> Any:
        if names and self.chance(30):
            return f"{self.pick(*names)} {self.pick('<', '>=')} {self.pick(1, 2)}"
        if not readable or self.chance(20):
            return self.pick(True, False)
        read, bound = self.pick(*readable), self.pick(20, 60)
        return self.pick(
            f"(steps.{read}.output ?? 0) > {bound}",
            f"steps.{read}.status == '{self.pick('completed', 'skipped', 'failed')}'",
            f"steps.{read}.output > {bound}",
            "input.nope",
        )

    def _value(self, readable: list[str], names: list[str]) -> Any:
        if names and self.chance(30):
            return f"{{{{ {self.pick(*names)} }}}}"
        if not readable or self.chance(30):
            return self._draw(st.integers(0, 99))
        read = self.pick(*readable)
        return self.pick(
            f"{{{{ steps.{read}.output ?? null }}}}", f"{{{{ steps.{read}.output }}}}", f"{{{{ steps.{read}.status }}}}"
        )

    def _handler(self, depth: int, readable: list[str], names: list[str]) -> dict[str, Any]:
        errors = {"errors": [self.pick("*", *ERRORS)]}
        if self.chance(30):
            return errors | {"steps": self.scope(2, max(depth + 1, _DEEPEST - 1), readable, names, handler=True)}
        park: tuple[Any, ...] = ({"park": True},) if self._people else ()
        action: dict[str, Any] = self.pick({"continue": True}, {"output": 77}, *park)
        return errors | action

    # --- leaves ---------------------------------------------------------------------------------------------------

    def _agent_task(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step |= {"agent_type": "a", "task": "t"}
        if self.chance(40):
            step["parameters"] = {"p": self._value(reads, names)}
        if self._loops and self.chance(40):
            step["max_turns"] = self.pick(1, 2, 4)
        if self._loops and self.chance(30):
            step["budget"] = self.budget()

    def budget(self) -> dict[str, Any]:
        """Return a small budget."""
        bounds = {
            "model_calls": (2, 1, 5),
            "tool_calls": (2, 1, 5),
            "tokens": (3_000, 1_500, 9_000),
            "cost_usd": (0.1,),
        }
        names = self._draw(st.sets(st.sampled_from(sorted(bounds)), min_size=1, max_size=3))
        found = {name: self.pick(*bounds[name]) for name in sorted(names)}
        return found | {"on_exhausted": self.pick("fail", "park")}

    def _transform(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["value"] = self._value(reads, names)

    def _assign(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["values"] = {step["step_id"]: self._value(reads, names)}

    def _wait(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["seconds"] = self.pick(3.25, 11.5)

    def _fail(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step |= {"error_type": self.pick(*ERRORS), "message": "as written"}

    def _finish(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["value"] = self._value(reads, names)

    # --- people and children --------------------------------------------------------------------------------------

    def _wait_for_signal(
        self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool
    ) -> None:
        step["signal"] = self.pick("s", "t")
        if self.chance(50):
            step["timeout_seconds"] = self.pick(4, 15)
        if self.chance(40):
            step["schema"] = {"type": "integer"}
        if self.chance(40):
            step["accept_when"] = self.pick("result != 'no'", "result > 1")

    def _approval(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step |= {"title": "t", "quorum": self.pick(1, 2), "on_reject": self.pick("fail", "continue")}
        if self.chance(60):
            step |= {"timeout_seconds": self.pick(4, 15), "on_timeout": self.pick("fail", "approve", "reject")}
        if self.chance(30):
            step["remind_every_seconds"] = 3

    def _workflow(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step |= {"workflow_id": "other", "wait": self.pick(True, False)}
        if self.chance(30):
            step["retry"] = {"max_attempts": self.pick(2, 3), "initial_interval_seconds": 2}
        if self.chance(30):
            step["timeouts"] = {"schedule_to_close_seconds": self.pick(6, 25)}

    # --- blocks ---------------------------------------------------------------------------------------------------

    def _switch(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["cases"] = [
            {"when": self._condition(reads, names), "steps": self.scope(2, depth + 1, reads, names, handler=handler)}
            for _ in range(self.pick(1, 2))
        ]
        if self.chance(50):
            step["default"] = {"steps": self.scope(2, depth + 1, reads, names, handler=handler)}

    def _parallel(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        count = self.pick(1, 2, 3)
        step["branches"] = {
            f"b{number}": {"steps": self.scope(2, depth + 1, reads, names, handler=handler)} for number in range(count)
        }
        step["complete_when"] = self.pick("all", "any", "settled", {"at_least": self._draw(st.integers(1, count))})
        if self.chance(30):
            step["max_concurrency"] = self.pick(1, 2)

    def _foreach(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        step["items"] = f"range(0, {self.pick(2, 0, 1, 3, 4)})"
        inner = [*[name for name in names if name != "item"], "item"]
        step["steps"] = self.scope(2, depth + 1, reads, inner, handler=handler)
        if self.chance(50):
            step["max_concurrency"] = self.pick(1, 2)
        if self.chance(50):
            step["tolerate"] = self.pick({"count": 1}, {"percent": 50}, {"count": 2, "percent": 100})

    def _loop(self, step: dict[str, Any], depth: int, reads: list[str], names: list[str], handler: bool) -> None:
        kind, rounds = self.pick(("until", ">="), ("while", "<")), self.pick(1, 2, 3)
        inner = [*[name for name in names if name != "loop.iteration"], "loop.iteration"]
        step |= {kind[0]: f"loop.iteration {kind[1]} {rounds}", "max_iterations": self.pick(4, 2, 1)}
        step["steps"] = self.scope(2, depth + 1, reads, inner, handler=handler)
        if self.chance(40):
            step["delay_seconds"] = 2


@st.composite
def documents(draw: Any, *, blocks: bool) -> dict[str, Any]:
    """Return a definition; without blocks, a graph of steps with joins, conditions, failures and handlers."""
    writer = _Writer(draw, blocks=blocks)
    document: dict[str, Any] = {"steps": writer.scope(5 if blocks else 8, 1, [], [])}
    if writer.chance(20):
        document["on_failure"] = {"steps": [_last("after_failure")]}
    if writer.chance(20):
        document["on_cancel"] = {"steps": [_last("after_cancel")]}
    return document


@st.composite
def everything(draw: Any, *, loops: bool = False) -> dict[str, Any]:
    """Return a definition that also waits for people, parks, starts children and has little time and room.

    Args:
        draw: given by hypothesis.
        loops: whether agents have bounds of their own and the execution may have a budget.
    """
    writer = _Writer(draw, blocks=True, people=True, loops=loops)
    document: dict[str, Any] = {
        "steps": writer.scope(5, 1, [], []),
        "timeouts": {"execution_seconds": 200, "cleanup_seconds": writer.pick(50, 3)},
        "limits": {"max_parallel_steps": writer.pick(500, 2, 1)},
        "on_failure": {"steps": [_last("after_failure")]},
        "on_cancel": {"steps": [_last("after_cancel")]},
    }
    if loops and writer.chance(60):
        document["limits"]["budget"] = writer.budget()
    if writer.chance(30):
        document["output_schema"] = writer.pick(True, {"type": "null"})
    for step in document["steps"]:
        if step["step_type"] in _BLOCKS and writer.chance(20):
            step["timeouts"] = {"schedule_to_close_seconds": 20}
    return document


def _last(step_id: str) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "a", "task": "t"}


def script_of(seed: int, *, failures: int = 25) -> Callable[[str, int], Play]:
    """Return how activities go: the same for the same path and moment, and no two at quite the same pace.

    Args:
        seed: any number.
        failures: how many of a hundred fail.
    """

    def play(path: str, begin: int) -> Play:
        number = crc32(f"{seed}/{path}/{begin // 1_000_000}".encode())
        micros = (1 + number % 20) * 1_000_000 + crc32(path.encode()) % 999_983
        fails = number // 100 % 100 < failures and not path.endswith("_undo")
        return Play(
            seconds=micros / 1_000_000,
            result=number // 7 % 100,
            error=ERRORS[number % 2] if fails else None,
            on_cancel=("cancelled", "cancelled", "completed", "failed")[number // 11 % 4],
            cancel_seconds=(number // 13 % 3) * 1.25 + (number % 9973) / 1_000_000,
        )

    return play
