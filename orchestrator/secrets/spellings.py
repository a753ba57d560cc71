"""The ways in which URLs, JSON, HTML and program texts spell a character, whoever wrote them and however nested."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from html.entities import codepoint2name
from itertools import groupby
from typing import Final

from orchestrator.secrets.readings import LETTERS, MARKS, readings

LONGEST: Final = 4_096
"""A longer value is looked for in the usual spellings only."""
WINDOW: Final = 64 * 1024
"""Characters that are searched at once. Each may take microseconds, during which nothing else in the process runs."""
MOST_LETTERS: Final = 40
"""What one character may be spelled with, as an emoji in a URL in a URL."""
# Every repetition is bounded: a far end that was given a secret could else hold the worker up with what it answers.
_DEEPEST: Final = "{0,4}"
_PERCENT: Final = rf"%(?:25){_DEEPEST}"
_BACKSLASH: Final = rf"(?:\\|{_PERCENT}5[cC])"
_SEMICOLON: Final = rf"(?:;|{_PERCENT}3[bB])"
_HASH: Final = rf"(?:\#|{_PERCENT}23)"
_ENTITY: Final = rf"(?:&|{_PERCENT}26|\\{{1,8}}u0026)(?:amp{_SEMICOLON}){_DEEPEST}"
_ESCAPING: Final = _BACKSLASH + "{1,8}"
_ESCAPED: Final = _BACKSLASH + "{0,8}"


def without_spelled(text: str, values: Iterable[str], mask: str) -> str:
    """Return the text with a mask for every place that spells a value, one character written so and the next so.

    Args:
        text: any text.
        values: what must not be read out of it, none empty.
        mask: stands in for them.
    """
    if not any(mark in text for mark in MARKS):
        return text
    places = sorted(_places(text, [value for value in values if len(value) <= LONGEST]))
    pieces: list[str] = []
    at = 0
    for start, end in places:
        if start >= at:
            pieces += [text[at:start], mask]
        at = max(at, end)
    return "".join([*pieces, text[at:]])


def _places(text: str, values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where values are spelled; one that two windows share twice."""
    longest = max(map(len, values), default=0) * MOST_LETTERS
    for at, end in _windows(len(text), longest):
        window = text[at:end]
        if any(mark in window for mark in MARKS):
            # The pattern is slow: it is tried where some reading has the value.
            for value in _values_read(window, values):
                yield from (found.span() for found in _compiled(value).finditer(text, at, end))


def _windows(length: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield where windows begin and end: whatever has `longest` characters is whole in one, not at its very edge."""
    size = max(WINDOW, 4 * longest)
    for at in range(0, length, size - 2 * longest):
        yield at, min(length, at + size)


def _values_read(text: str, values: Sequence[str]) -> list[str]:
    """Return the values that some reading of a text has."""
    left = [(value, _own_readings(value)) for value in values]
    found: list[str] = []
    for reading in readings(text):
        hits = [value for value, own in left if any(form in reading for form in own)]
        if hits:
            found += hits
            left = [(value, own) for value, own in left if value not in hits]
    return found


@functools.lru_cache(maxsize=1024)
def _own_readings(value: str) -> tuple[str, ...]:
    # A value that itself looks like escapes was read once more in the text.
    return tuple(dict.fromkeys((value, *readings(value))))


@functools.lru_cache(maxsize=64)
def _compiled(value: str) -> re.Pattern[str]:
    return re.compile(_pattern(value))


def _pattern(value: str) -> str:
    runs = ((character, len(list(run))) for character, run in groupby(value))
    return "".join(_backslashes(length) if one == "\\" else _spellings(one) * length for one, length in runs)


def _backslashes(length: int) -> str:
    # One repetition for a whole run: one for each would try every way to share out a longer run.
    numbers = rf"{_ENTITY}(?:{_HASH}0{{0,8}}92|{_HASH}[xX]0{{0,8}}5[cC]|bsol){_SEMICOLON}"
    return rf"(?:{_BACKSLASH}(?:u005[cC])?|{numbers}){{{length},{8 * length}}}"


def _spellings(character: str) -> str:
    number = ord(character)
    octets = character.encode("utf-8", "replace")
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
    ways = [
        re.escape(character) if character.isalnum() else _ESCAPED + re.escape(character),
        _ESCAPED + "".join(rf"{_PERCENT}(?i:{octet:02x})" for octet in octets),
        "".join(rf"{_ESCAPING}u(?i:{pair})" for pair in pairs),
        rf"{_ESCAPING}U(?i:{number:08x})",
        rf"{_ENTITY}{_HASH}0{{0,8}}{number}{_SEMICOLON}",
        rf"{_ENTITY}{_HASH}[xX]0{{0,8}}(?i:{number:x}){_SEMICOLON}",
    ]
    if number < 256:
        ways.append(rf"{_ESCAPING}x(?i:{number:02x})")
    if name := {39: "apos"}.get(number) or codepoint2name.get(number):
        ways.append(rf"{_ENTITY}{name}{_SEMICOLON}")
    ways += [_ESCAPING + letter for letter, meant in LETTERS.items() if meant == character]
    if character == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"
