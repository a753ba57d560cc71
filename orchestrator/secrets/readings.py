"""What a text says once its escapes are read: URLs, JSON, HTML and program texts, however nested."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from html.entities import html5
from typing import Final

_ROUNDS: Final = 3
MARKS: Final = ("%", "\\", "&", "+")
"""What escapes begin with."""
_NUMBERED: Final = re.compile(r"(\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U[0-9a-fA-F]{8}))")
_STAND_IN: Final = "\0"
"""For a backslash that is read already. No secret has it: neither an environment nor a header can hold one."""
_QUOTED: Final = re.compile(r"((?:%[0-9a-fA-F]{2})+)")
_ENTITIES: Final = re.compile(r"(&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?))")
"""What `html.unescape` looks at."""
_LONGEST_OLD_NAME: Final = max(len(name) for name in html5 if not name.endswith(";"))
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
"""Letters behind a backslash that do not mean themselves."""


def readings(text: str) -> Iterator[str]:
    """Yield what a text may say, deeper and deeper read; nothing where it has no escape."""
    for _ in range(_ROUNDS):
        before = text
        for mark, read in (("&", _html_read), ("%", _url_read), ("\\", _backslashes_read)):
            # Most texts have one kind of escapes.
            if mark in text:
                text = read(text)
                yield text
        if "+" in text:
            yield text.replace("+", " ")
        if text == before:
            return


class _Meanings(dict[str, str]):
    """What each escape of one text means: a text repeats a few, and looking one up is faster than reading it."""

    def __init__(self, meaning: Callable[[str], str]) -> None:
        super().__init__()
        self._meaning = meaning

    def __missing__(self, escape: str) -> str:
        found = self[escape] = self._meaning(escape)
        return found


def _read(text: str, escapes: re.Pattern[str], meaning: Callable[[str], str]) -> str:
    # Every second part is an escape. No function of ours runs for each: a text may be nothing but escapes.
    parts = escapes.split(text)
    parts[1::2] = map(_Meanings(meaning).__getitem__, parts[1::2])
    return "".join(parts)


def _html_read(text: str) -> str:
    return _read(text, _ENTITIES, _entity)


def _entity(escape: str) -> str:
    return _numbered(escape) if escape[1] == "#" else _named(escape)


def _numbered(escape: str) -> str:
    digits = escape[2:].rstrip(";")
    if digits.isdigit() and len(digits) < 7 and 160 <= (number := int(digits)) < 0xD800:
        # Nothing is special about these.
        return chr(number)
    return html.unescape(escape)


def _named(escape: str) -> str:
    name = escape[1:]
    if name in html5:
        return html5[name]
    # The old names need no semicolon, and other letters may follow.
    for end in range(min(len(name) - 1, _LONGEST_OLD_NAME), 1, -1):
        if name[:end] in html5:
            return html5[name[:end]] + name[end:]
    return escape


def _url_read(text: str) -> str:
    return _read(text, _QUOTED, _octets)


def _octets(escapes: str) -> str:
    return bytes.fromhex(escapes.replace("%", "")).decode("utf-8", "replace")


def _backslashes_read(text: str) -> str:
    # Pairs first: every backslash that is left then begins an escape.
    plain = text.replace("\\\\", _STAND_IN)
    ending = "\\" if plain.endswith("\\") else ""
    plain = _read(plain, _NUMBERED, _character)
    for letter, meant in LETTERS.items():
        plain = plain.replace(f"\\{letter}", meant)
    plain = plain.replace("\\", "").replace(_STAND_IN, "\\") + ending
    if _SURROGATES.search(plain) is None:
        return plain
    # Two escapes of one surrogate each make a character.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: str) -> str:
    number = int(escape[2:], 16)
    if number == ord("\\"):
        return _STAND_IN
    return chr(number) if number < 0x110000 else escape
