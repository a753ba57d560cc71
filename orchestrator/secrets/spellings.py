"""The ways in which URLs, JSON, HTML and program texts spell a character, whoever wrote them and however nested."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from html.entities import codepoint2name
from itertools import groupby
from typing import Final
from urllib.parse import unquote

LONGEST: Final = 4_096
"""A longer value is looked for in the usual spellings only."""
WINDOW: Final = 64 * 1024
"""Characters that are searched at once. Each may take microseconds, during which nothing else in the process runs."""
MOST_LETTERS: Final = 40
"""What one character may be spelled with, as an emoji in a URL in a URL."""
_ROUNDS: Final = 3
_MARKS: Final = ("%", "\\", "&", "+")
_BACKSLASHED: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
# Every repetition is bounded: a far end that was given a secret could else hold the worker up with what it answers.
_DEEPEST: Final = "{0,4}"
_PERCENT: Final = rf"%(?:25){_DEEPEST}"
_BACKSLASH: Final = rf"(?:\\|{_PERCENT}5[cC])"
_SEMICOLON: Final = rf"(?:;|{_PERCENT}3[bB])"
_HASH: Final = rf"(?:\#|{_PERCENT}23)"
_ENTITY: Final = rf"(?:&|{_PERCENT}26|\\{{1,8}}u0026)(?:amp{_SEMICOLON}){_DEEPEST}"
_ESCAPING: Final = _BACKSLASH + "{1,8}"
_ESCAPED: Final = _BACKSLASH + "{0,8}"
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def without_spelled(text: str, values: Iterable[str], mask: str) -> str:
    """Return the text with a mask for every place that spells a value, one character written so and the next so.

    Args:
        text: any text.
        values: what must not be read out of it, none empty.
        mask: stands in for them.
    """
    if not any(mark in text for mark in _MARKS):
        return text
    # The pattern is slow and hardly ever needed: first whether any reading of the text has the value at all.
    readings = list(_readings(text))
    for value in values:
        if len(value) <= LONGEST and _is_read(value, readings):
            text = _masked(text, value, mask)
    return text


def _masked(text: str, value: str, mask: str) -> str:
    pattern, longest = re.compile(_pattern(value)), len(value) * MOST_LETTERS
    pieces: list[str] = []
    at = 0
    while at < len(text):
        end = min(len(text), at + max(WINDOW, 2 * longest))
        if found := pattern.search(text, at, end):
            pieces += [text[at : found.start()], mask]
            at = found.end()
        else:
            # What begins near the end of the window ends in the next one.
            following = end if end == len(text) else end - longest
            pieces.append(text[at:following])
            at = following
    return "".join(pieces)


def _is_read(value: str, readings: Sequence[str]) -> bool:
    if any(value in reading for reading in readings):
        return True
    # A value that itself looks like escapes was read once more in the text.
    return any(own in reading for own in set(_readings(value)) if own != value for reading in readings)


def _readings(text: str) -> Iterator[str]:
    for _ in range(_ROUNDS):
        before = text
        for read in (html.unescape, _unquoted, _unescaped):
            text = read(text)
            yield text
            if "+" in text:
                yield text.replace("+", " ")
        if text == before:
            return


def _unquoted(text: str) -> str:
    return unquote(text, errors="replace")


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _BACKSLASHED.sub(_character, text)
    # Two escapes of one surrogate each make a character.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) == 1:
        return _LETTERS.get(code, code)
    number = int(code[1:], 16)
    return chr(number) if number < 0x110000 else found[0]


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
    ways += [_ESCAPING + letter for letter, meant in _LETTERS.items() if meant == character]
    if character == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"
