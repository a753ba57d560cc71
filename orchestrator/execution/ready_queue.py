"""Steps that may begin, in order; those for which there is no room are held without holding the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal

Entry = tuple[str, str]
"""Scope id and step id."""
Takes = Literal["activity", "child"]
"""What there may be no room for; a step that takes neither always has room."""


class InFlight(dict[str, Entry]):
    """Activities and awaited children by id; children are counted apart.

    Attributes:
        children: which of the ids are children's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.children: set[str] = set()

    def __delitem__(self, identifier: str) -> None:
        super().__delitem__(identifier)
        self.children.discard(identifier)

    @property
    def activities(self) -> int:
        """How many activities are in flight."""
        return len(self) - len(self.children)


class ReadyQueue:
    """The queue: constant work for each step that comes and goes.

    Args:
        entries: in order.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._count = 0
        self._open: deque[tuple[int, Entry]] = deque()
        self._held: dict[Takes, deque[tuple[int, Entry]]] = {"activity": deque(), "child": deque()}
        for entry in entries:
            self.append(entry)

    def __bool__(self) -> bool:
        return bool(self._open) or any(self._held.values())

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, entry in self._in_order())

    def _in_order(self) -> list[tuple[int, Entry]]:
        return sorted([*self._held["activity"], *self._held["child"], *self._open])

    def append(self, entry: Entry) -> None:
        """Add a step at the end."""
        self._count += 1
        self._open.append((self._count, entry))

    def clear(self) -> None:
        """Forget every step."""
        for queue in (self._open, *self._held.values()):
            queue.clear()

    def take(self, takes: Callable[[Entry], Takes | None], full: Collection[Takes]) -> tuple[int, Entry] | None:
        """Take the first step for which there is room; None where there is none.

        Args:
            takes: says what a step takes.
            full: what there is no room for.
        """
        # Held steps came before all that are not.
        free = [held for kind, held in self._held.items() if held and kind not in full]
        if free:
            return min(free, key=lambda held: held[0]).popleft()
        while self._open:
            found = self._open.popleft()
            kind = takes(found[1])
            if kind is None or kind not in full:
                return found
            self._held[kind].append(found)
        return None

    def take_instead(self, taken: tuple[int, Entry], entry: Entry) -> tuple[int, Entry]:
        """Give a step its place again and take another, which is in the queue."""
        self.put_back(taken)
        found = next(item for item in self._open if item[1] == entry)
        self._open.remove(found)
        return found

    def put_back(self, taken: tuple[int, Entry]) -> None:
        """Give a step its place again, and hold nothing apart any more."""
        everything = sorted([taken, *self._in_order()])
        self.clear()
        self._open.extend(everything)
