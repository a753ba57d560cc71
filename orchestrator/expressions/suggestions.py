""" "Did you mean": the nearest of some names, in bounded time whatever their length."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_LONGEST = 64
_MOST = 10_000


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `name` is most likely a misspelling of.

    Names over 64 characters and candidates beyond the first 10,000 are not compared; equally near candidates are
    ordered by text, so that the order in which they come does not matter.

    Args:
        name: What was written.
        candidates: What exists.

    Returns:
        The nearest candidate, or `None` when none is near.
    """
    if not name or len(name) > _LONGEST:
        return None
    folded = _fold(name)
    bound = 3 if len(folded) > 8 else 2 if len(folded) > 3 else 1
    best: tuple[int, str] | None = None
    for candidate in islice(candidates, _MOST):
        if not isinstance(candidate, str) or abs(len(candidate) - len(name)) > bound + 2 or candidate == name:
            continue
        distance = _distance(folded, _fold(candidate), bound)
        if distance <= bound and (best is None or (distance, candidate) < best):
            best = (distance, candidate)
            bound = distance
    return best[1] if best else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """Return `did you mean 'x'?` or `None`."""
    found = suggest(name, candidates)
    return f"did you mean '{found}'?" if found else None


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "") or name


def _distance(a: str, b: str, bound: int) -> int:
    """Return the edit distance with transpositions, or `bound` + 1 as soon as it must be larger."""
    if a == b:
        return 0
    if abs(len(a) - len(b)) > bound:
        return bound + 1
    # Names that share few ends cannot be near: cutting common ends makes the usual comparison a few cells.
    start = 0
    while start < len(a) and start < len(b) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    if not a or not b:
        return len(a) or len(b)
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > bound:
            return bound + 1
    return row[-1]
