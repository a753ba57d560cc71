"""Questions about a scope's dependencies: cycles, and steps that may be skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def find_cycles(dependencies: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return one cycle for each knot of steps that wait for each other, as ids in order; empty for a DAG.

    Args:
        dependencies: what each step waits for; unknown ids and self-references are left aside.
    """
    cycles: list[list[str]] = []
    settled: dict[str, bool] = {}
    for start in dependencies:
        if start not in settled:
            _walk(start, dependencies, settled, cycles)
    return cycles


def _walk(
    start: str, dependencies: Mapping[str, Sequence[str]], settled: dict[str, bool], cycles: list[list[str]]
) -> None:
    trail: list[str] = [start]
    place = {start: 0}
    pending = [iter(dependencies[start])]
    while trail:
        following = next(pending[-1], None)
        if following is None:
            pending.pop()
            done = trail.pop()
            del place[done]
            settled[done] = True
        elif following in place:
            if following != trail[-1]:
                cycles.append(trail[place[following] :])
        elif following in dependencies and following not in settled:
            place[following] = len(trail)
            trail.append(following)
            pending.append(iter(dependencies[following]))


def in_order(dependencies: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the steps, each after those that it waits for; None where some wait for each other.

    Args:
        dependencies: what each step waits for; unknown ids and self-references are left aside.
    """
    waits = {
        name: [n for n in dict.fromkeys(found) if n in dependencies and n != name]
        for name, found in dependencies.items()
    }
    followers: dict[str, list[str]] = {name: [] for name in waits}
    for name, found in waits.items():
        for dependency in found:
            followers[dependency].append(name)
    left = {name: len(found) for name, found in waits.items()}
    order = [name for name, count in left.items() if not count]
    for name in order:
        for follower in followers[name]:
            left[follower] -= 1
            if not left[follower]:
                order.append(follower)
    return order if len(order) == len(waits) else None
