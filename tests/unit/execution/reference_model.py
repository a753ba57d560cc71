"""A second reading of the definition language, for comparison: every scope is a function of when it begins.

It was written from the language page alone and shares nothing with the interpreter. A step's or scope's fate is
computed as if nobody cancelled it; where its surroundings end earlier, it is computed again with that moment. Times
are whole microseconds. Where the page leaves open what comes first at one and the same moment, it gives up with
`Ambiguous`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.machine_driver import Play
from tests.unit.execution.reference_parts import (
    BLOCKS,
    NEVER,
    SECOND,
    Ambiguous,
    Broken,
    Env,
    Error,
    Fate,
    Group,
    Trace,
    holds,
    reads,
    value_of,
)


class Reference:
    """Runs one definition.

    Args:
        document: the definition; only the expressions of `value_of` and `holds`.
        script: how activities go.
    """

    def __init__(self, document: Mapping[str, Any], script: Callable[[str, int], Play]) -> None:
        self._document = document
        self._script = script

    # --- the execution --------------------------------------------------------------------------------------------

    def run(self, cancel_at: int = NEVER) -> tuple[str, Fate, dict[str, Any]]:
        """Return the outcome, the whole fate, and the variables at the end."""
        root = self.scope(self._document["steps"], "", Env(), 0, cancel_at)
        variables = dict(self._document.get("vars", {}))
        for _, values in sorted(root.trace.assigns, key=lambda item: item[0]):
            variables |= values
        if root.finish is not None:
            return "completed", _changed(root, output=root.value, error=None), variables
        if root.error is None and root.state == "completed":
            return "completed", root, variables
        outcome = "cancelled" if root.error is None or root.error.type == "cancelled" else "failed"
        return self._cleaned(outcome, root), root, variables

    def _cleaned(self, outcome: str, root: Fate) -> str:
        now, failed = root.end, False
        undo = sorted(root.trace.undo, key=lambda item: item[0])
        for (one, _, inner, _), (other, _, outer, _) in itertools.pairwise(undo):
            if one == other and (inner == outer or not inner.startswith(outer)):
                raise Ambiguous
        root.trace.undo = []
        for _, step, prefix, env in reversed(undo):
            fate = self.step(step, prefix, env, now, NEVER)
            failed |= fate.state == "failed" and not fate.tolerated
            root.trace.starts += fate.trace.starts
            now = fate.end
        ends = self._document.get("on_cancel" if outcome == "cancelled" else "on_failure")
        if ends is not None:
            root.trace.starts += self.scope(ends["steps"], "", Env(), now, NEVER).trace.starts
        if failed:
            root.error = Error("compensation-failed", None)
            return "failed"
        return outcome

    # --- scopes ---------------------------------------------------------------------------------------------------

    def scope(self, steps: Sequence[dict[str, Any]], prefix: str, env: Env, begin: int, cancel_at: int) -> Fate:
        """Return the fate of a scope that begins at a moment and may be cancelled at another."""
        by_id = {step["step_id"]: step for step in steps}
        done: dict[str, Fate] = {}
        running: dict[str, Fate] = {}
        views: dict[str, Env] = {}
        now, trace = begin, Trace()

        def view() -> dict[str, Fate]:
            open_ones = {name: Fate("running", now, now) for name in running}
            return {**{name: Fate("pending", now, now) for name in by_id}, **open_ones, **done}

        def start_all() -> str | None:
            """Begin what may begin now; return the step whose end ends the scope."""
            queue: list[str] = []
            while True:
                queue += self._ready(by_id, queue, done, running, now)
                if not queue:
                    return None
                name = queue.pop(0)
                if any(read in running and running[read].end == now for read in reads(by_id[name])):
                    raise Ambiguous
                views[name] = env.inside(view())
                fate = self.step(by_id[name], prefix, views[name], now, NEVER)
                if by_id[name]["step_type"] in BLOCKS or fate.strikes > now:
                    running[name] = fate
                    continue
                done[name] = fate
                if _ends_scope(fate) or fate.finish is not None:
                    if queue:
                        raise Ambiguous
                    return name

        def end_early(moment: int, error: Error | None) -> Fate:
            last = moment
            for name, fate in running.items():
                if fate.begin == moment or fate.end == moment:
                    raise Ambiguous
                again = self.step(by_id[name], prefix, views[name], fate.begin, moment)
                done[name] = again
                last = max(last, again.end)
            for name in by_id:
                done.setdefault(name, Fate("cancelled", moment, moment))
            state = "failed" if error is not None and error.type != "cancelled" else "cancelled"
            return _closed(state, begin, last, error, done, by_id, prefix, trace)

        def ended_by(fate: Fate) -> Fate:
            if fate.begin == now and sum(other.begin == now for other in done.values()) > 1:
                raise Ambiguous
            if fate.finish is None:
                return end_early(now, fate.error)
            closed = end_early(now, Error("cancelled", None))
            return _changed(closed, end=max(closed.end, fate.end), finish=fate.finish, value=fate.value)

        while True:
            culprit = start_all()
            if culprit is not None:
                return ended_by(done[culprit])
            if not running:
                end = now
                return _closed("completed", begin, end, None, done, by_id, prefix, trace)
            name = min(running, key=lambda item: (running[item].strikes, list(by_id).index(item)))
            moment = running[name].strikes
            refuse_ties(running, moment)
            if cancel_at <= moment:
                if cancel_at == moment:
                    raise Ambiguous
                return end_early(cancel_at, Error("cancelled", None))
            now = moment
            fate = running.pop(name)
            done[name] = fate
            if _ends_scope(fate) or fate.finish is not None:
                return ended_by(fate)

    def _ready(
        self, by_id: Mapping[str, Any], queue: list[str], done: dict[str, Fate], running: Mapping[str, Fate], now: int
    ) -> list[str]:
        """Return the steps that may begin; skip those that never will, and so on down the graph."""
        while True:
            waiting = [name for name in by_id if name not in done and name not in running and name not in queue]
            verdicts = {name: self._verdict(by_id[name], by_id, done) for name in waiting}
            skipped = {name: Fate("skipped", now, now) for name in waiting if verdicts[name] == "skip"}
            if not skipped:
                return [name for name in waiting if verdicts[name] == "run"]
            done |= skipped

    def _verdict(self, step: Mapping[str, Any], by_id: Mapping[str, Any], done: Mapping[str, Fate]) -> str:
        listed = step.get("depends_on", [])
        states = [done[name].state for name in listed if name in done]
        open_ones, completed = len(listed) - len(states), states.count("completed")
        join = step.get("join", "all")
        if join == "all":
            verdict = "wait" if open_ones else "run" if completed == len(listed) else "skip"
        elif join == "settled":
            verdict = "wait" if open_ones else "run"
        else:
            need = 1 if join == "any" else join["at_least"]
            verdict = "run" if completed >= need else "wait" if completed + open_ones >= need else "skip"
        if verdict != "run":
            return verdict
        own = {name: strict for name, strict in reads(step).items() if name in by_id and name not in listed}
        if any(name not in done for name in own):
            return "wait"
        return "skip" if any(strict and done[name].state != "completed" for name, strict in own.items()) else "run"

    # --- steps ----------------------------------------------------------------------------------------------------

    def step(self, step: dict[str, Any], prefix: str, env: Env, begin: int, cancel_at: int) -> Fate:
        """Return the fate of a step whose join is met."""
        path = f"{prefix}.{step['step_id']}" if prefix else step["step_id"]
        try:
            wanted = holds(step.get("when", True), env)
        except Broken:
            return self._failed(step, path, env, Fate("failed", begin, begin), Error("E", path), cancel_at)
        if not wanted:
            return Fate("skipped", begin, begin)
        try:
            fate = self._tried(step, path, env, begin, cancel_at)
        except Broken:
            return self._failed(step, path, env, Fate("failed", begin, begin), Error("E", path), cancel_at)
        if fate.state == "completed" and "compensate" in step:
            seen = env.inside({step["step_id"]: fate}, result=fate.value if fate.finish else fate.output)
            fate.trace.undo.append((fate.end, step["compensate"], prefix, seen))
        if fate.state == "failed" and not fate.tolerated and fate.error is not None:
            return self._failed(step, path, env, fate, fate.error, cancel_at)
        return fate

    def _tried(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        """Run a step's action; a block's `retry` runs it again."""
        policy = step.get("retry", {}) if step["step_type"] in BLOCKS else {}
        trace, now = Trace(), begin
        for attempt in range(1, policy.get("max_attempts", 1) + 1):
            fate = self._action(step, path, env, now, cancel_at)
            trace.add(fate.trace)
            fate = _changed(fate, begin=begin, trace=trace)
            if fate.state != "failed" or attempt == policy.get("max_attempts", 1):
                break
            now = fate.end + int(min(policy["initial_interval_seconds"] * 2 ** (attempt - 1), 60)) * SECOND
            if cancel_at < now:
                return _changed(fate, state="cancelled", end=max(cancel_at, fate.end))
        return fate

    def _failed(self, step: dict[str, Any], path: str, env: Env, fate: Fate, error: Error, cancel_at: int) -> Fate:
        """Let the first handler that matches see to a failure."""
        for handler in step.get("on_error", []):
            names = handler.get("errors", ["*"])
            if not ("*" in names or error.type in names):
                continue
            if "output" in handler and "steps" not in handler:
                return _changed(fate, state="completed", output=handler["output"], error=error)
            if "continue" in handler:
                return _changed(fate, state="failed", tolerated=True, output=None, error=error)
            inner = self.scope(handler["steps"], path, env.inside({}, error=error.type), fate.end, cancel_at)
            trace = Trace()
            trace.add(fate.trace)
            trace.add(inner.trace)
            if inner.state == "cancelled" or cancel_at < inner.end:
                return _changed(inner, state="cancelled", begin=fate.begin, trace=trace)
            if inner.error is not None:
                carried = Error(inner.error.type, inner.error.step, path)
                return Fate("failed", fate.begin, inner.end, error=carried, trace=trace)
            return Fate("completed", fate.begin, inner.end, inner.output, error, trace=trace)
        return _changed(fate, state="failed", error=error)

    def _action(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        kind = step["step_type"]
        if kind == "agent_task":
            value_of(step.get("parameters", {}), env)
            return self._activity(path, begin, cancel_at)
        if kind == "transform":
            return Fate("completed", begin, begin, value_of(step["value"], env))
        if kind == "assign":
            values = value_of(step["values"], env)
            return Fate("completed", begin, begin, values, trace=Trace(assigns=[(begin, values)]))
        if kind == "fail":
            return Fate("failed", begin, begin, error=Error(step["error_type"], path))
        if kind == "finish":
            value = value_of(step["value"], env)
            return Fate("completed", begin, begin, value, finish=begin, value=value)
        if kind == "wait":
            end = begin + int(step["seconds"] * SECOND)
            return Fate("cancelled", begin, cancel_at) if cancel_at < end else Fate("completed", begin, end)
        block: Callable[..., Fate] = getattr(self, f"_{kind}")
        return block(step, path, env, begin, cancel_at)

    def _activity(self, path: str, begin: int, cancel_at: int) -> Fate:
        play = self._script(path, begin)
        trace, end = Trace(starts=[(begin, path)]), begin + round(play.seconds * SECOND)
        if cancel_at < end:
            late = cancel_at + round(play.cancel_seconds * SECOND)
            if play.on_cancel == "completed":
                return Fate("completed", begin, late, play.result, trace=trace)
            return Fate("cancelled", begin, late, trace=trace)
        if play.error is not None:
            return Fate("failed", begin, end, error=Error(play.error, path), trace=trace)
        return Fate("completed", begin, end, play.result, trace=trace)

    # --- blocks ---------------------------------------------------------------------------------------------------

    def _switch(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        chosen = next((case for case in step["cases"] if holds(case["when"], env)), step.get("default"))
        if chosen is None:
            return Fate("completed", begin, begin)
        inner = self.scope(chosen["steps"], path, env, begin, cancel_at)
        return _of_block(inner, path, cancel_at)

    def _loop(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        now, previous, trace = begin, None, Trace()
        for iteration in range(step["max_iterations"] + 1):
            seen = env.inside({}, iteration=iteration)
            if "while" in step and not holds(step["while"], seen):
                return Fate("completed", begin, now, previous, trace=trace)
            if iteration == step["max_iterations"]:
                break
            inner = self.scope(step["steps"], f"{path}[{iteration}]", seen, now, cancel_at)
            trace.add(inner.trace)
            whole = _of_block(inner, path, cancel_at)
            if whole.state != "completed":
                return _changed(whole, begin=begin, trace=trace)
            previous, now = inner.output, inner.end
            if "until" in step and holds(step["until"], seen):
                return Fate("completed", begin, now, previous, trace=trace)
            if iteration + 1 < step["max_iterations"] or "while" in step:
                now += int(step.get("delay_seconds", 0)) * SECOND
                if cancel_at < now:
                    return Fate("cancelled", begin, cancel_at, trace=trace)
        return Fate("failed", begin, now, error=Error("loop-exhausted", path), trace=trace)

    def _parallel(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        branches, when = step["branches"], step.get("complete_when", "all")
        words = {"any": 1, "all": len(branches), "settled": 0}
        need: int = words[when] if isinstance(when, str) else when["at_least"]

        def decided(done: Mapping[str, Fate], failed: Mapping[str, Fate], last: Fate) -> bool | None:
            if when == "settled":
                return None
            if when != "all" and len(done) >= need:
                return True
            return False if len(branches) - len(failed) < need else None

        units = {
            name: lambda start, stop, branch=branch: self.scope(branch["steps"], path, env, start, stop)
            for name, branch in branches.items()
        }
        group = self._group(units, begin, cancel_at, step.get("max_concurrency", len(units)), decided)
        if group.verdict is False and when != "all":
            group.fate = _changed(group.fate, error=Error("join-unmet", path))
        elif group.verdict is False:
            group.fate = _changed(group.fate, error=_via(group.fate.error, path))
        output = {name: group.outputs.get(name) for name in branches}
        return _changed(group.fate, output=output, errors=group.errors)

    def _foreach(self, step: dict[str, Any], path: str, env: Env, begin: int, cancel_at: int) -> Fate:
        items = list(range(int(re.findall(r"\d+", step["items"])[-1])))
        tolerate, bounds = step.get("tolerate"), []
        if tolerate is not None and "count" in tolerate:
            bounds.append(tolerate["count"])
        if tolerate is not None and "percent" in tolerate:
            bounds.append(math.floor(len(items) * tolerate["percent"] / 100))
        most = min(bounds, default=0)

        def decided(done: Mapping[str, Fate], failed: Mapping[str, Fate], last: Fate) -> bool | None:
            return False if len(failed) > most else None

        units = {
            str(index): lambda start, stop, index=index: self.scope(
                step["steps"], f"{path}[{index}]", env.inside({}, item=index), start, stop
            )
            for index in items
        }
        group = self._group(units, begin, cancel_at, step.get("max_concurrency", 10), decided)
        if group.verdict is False:
            group.fate = _changed(group.fate, error=_via(group.fate.error, path))
        output = [group.outputs.get(str(index)) for index in items]
        return _changed(group.fate, output=output, errors=group.errors)

    def _group(
        self,
        units: Mapping[str, Callable[[int, int], Fate]],
        begin: int,
        cancel_at: int,
        limit: int,
        decided: Callable[[Mapping[str, Fate], Mapping[str, Fate], Fate], bool | None],
    ) -> Group:
        """Run branches or items side by side, so many at a time."""
        waiting, running = list(units), dict[str, Fate]()
        done, failed, trace, now = dict[str, Fate](), dict[str, Fate](), Trace(), begin

        def end_all(moment: int) -> int:
            last = moment
            for name, fate in running.items():
                if fate.begin == moment or fate.end == moment:
                    raise Ambiguous
                again = units[name](fate.begin, moment)
                trace.add(again.trace, assigns=False)
                last = max(last, again.end)
            return last

        while True:
            while waiting and len(running) < limit:
                name = waiting.pop(0)
                running[name] = units[name](now, NEVER)
            if not running:
                break
            name = min(running, key=lambda item: (running[item].strikes, list(units).index(item)))
            moment = running[name].strikes
            refuse_ties(running, moment)
            if cancel_at <= moment:
                if cancel_at == moment:
                    raise Ambiguous
                return Group(Fate("cancelled", begin, end_all(cancel_at), trace=trace))
            now, fate = moment, running.pop(name)
            trace.add(fate.trace, assigns=False)
            if fate.finish is not None:
                end = max(end_all(now), fate.end)
                return Group(Fate("cancelled", begin, end, trace=trace, finish=now, value=fate.value))
            (done if fate.error is None else failed)[name] = fate
            verdict = decided(done, failed, fate)
            if verdict is None:
                continue
            end = end_all(now)
            if cancel_at < end:
                return Group(Fate("cancelled", begin, end, trace=trace))
            if verdict is False:
                return Group(Fate("failed", begin, end, error=fate.error, trace=trace), verdict=False)
            now = end
            break
        layers: dict[str, Any] = {}
        for name in units:
            for _, values in sorted(done[name].trace.assigns, key=lambda item: item[0]) if name in done else ():
                layers |= values
        if layers:
            trace.assigns.append((now, layers))
        outputs = {name: fate.output for name, fate in done.items()}
        errors = {name: fate.error.type for name, fate in failed.items() if fate.error is not None}
        return Group(Fate("completed", begin, now, trace=trace), outputs, errors, verdict=True)


def refuse_ties(running: Mapping[str, Fate], moment: int) -> None:
    """Give up where several end at one moment and one of them ends more than itself."""
    tied = [fate for fate in running.values() if fate.strikes == moment]
    if len(tied) > 1 and any(fate.error is not None or fate.finish is not None for fate in tied):
        raise Ambiguous


def _ends_scope(fate: Fate) -> bool:
    return fate.state == "failed" and not fate.tolerated


def _changed(fate: Fate, **changes: Any) -> Fate:
    return Fate(**{**{name: getattr(fate, name) for name in fate.__dataclass_fields__}, **changes})


def _via(error: Error | None, path: str) -> Error:
    assert error is not None
    return Error(error.type, error.step, path)


def _of_block(inner: Fate, path: str, cancel_at: int) -> Fate:
    """Return the fate of a block whose one scope ended."""
    if inner.state == "cancelled" or inner.finish is not None or cancel_at < inner.end:
        return _changed(inner, state="cancelled", output=None, error=None)
    if inner.error is not None:
        return _changed(inner, state="failed", output=None, error=_via(inner.error, path))
    return _changed(inner, state="completed")


def _closed(
    state: str,
    begin: int,
    end: int,
    error: Error | None,
    done: Mapping[str, Fate],
    by_id: Mapping[str, Any],
    prefix: str,
    trace: Trace,
) -> Fate:
    for name, step in by_id.items():
        trace.add(done[name].trace)
        trace.states[f"{prefix}.{name}" if prefix else name] = done[name].state
        assert step["step_id"] == name
    read = {found for step in by_id.values() for found in (*reads(step), *step.get("depends_on", ()))}
    output = {name: done[name].output for name in by_id if name not in read}
    return Fate(state, begin, end, output if state == "completed" else None, error, trace=trace)
