"""Strikes secrets out of what an attempt reports and of what a process logs, in every form they come back in."""

from __future__ import annotations

import base64
import html
import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote, quote_plus

from orchestrator.secrets.spellings import without_spelled

MASK: Final = "***"
SHORTEST: Final = 4
"""Shorter values are struck out only where they are a whole text: elsewhere they would garble everything."""
_SHORTEST_CODED: Final = 6
"""Shorter pieces of base64 turn up by chance."""
_SHORTEST_CUT: Final = 3
_KEPT_IN_A_COMPONENT: Final = "!'()*"
_KEPT_IN_A_URL: Final = "!'()*;,/?:@&=+$#"
"""What JavaScript's encodeURIComponent and encodeURI leave as it is."""
_MOST: Final = 1_000
_DEEPEST: Final = 2
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")


class Redaction:
    """Texts to strike out, in all their forms: URL-encoded, JSON- and HTML-escaped, in base64 and in hexadecimal.

    Args:
        most: values that are kept; the ones not added for longest are dropped.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._values: OrderedDict[str, tuple[frozenset[str], frozenset[str]]] = OrderedDict()
        self._most = most
        self._plain: tuple[str, ...] = ()
        self._coded: tuple[str, ...] = ()
        self._bare: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to strike out."""
        return bool(self._values)

    def add(self, value: str) -> None:
        """Strike this text out from now on."""
        if not value.strip():
            return
        if value in self._values:
            self._values.move_to_end(value)
            return
        self._values[value] = (_plain_forms(value), _coded_forms(value))
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        # Longest first: one form may begin with another.
        self._plain = _longest_first(plain for plain, _ in self._values.values())
        self._coded = _longest_first(coded for _, coded in self._values.values())
        self._bare = tuple(bare for value in self._values if len(bare := value.strip()) >= SHORTEST)

    def text(self, text: str) -> str:
        """Return a text without them."""
        if text in self._values or text.strip() in self._values:
            return MASK
        for form in self._plain:
            if form in text:
                text = text.replace(form, MASK)
        for form in self._coded:
            if form in text:
                text = _without_word(text, form)
        return without_spelled(text, self._bare, MASK)

    def cut_text(self, text: str) -> str:
        """Return the beginning of a longer text without them, and without what the cut left of one at its end."""
        # A character that the cut halved became U+FFFD.
        text = self.text(text).rstrip("\ufffd")
        for form in (*self._plain, *self._coded):
            for length in range(min(len(form) - 1, len(text)), _SHORTEST_CUT - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length] + MASK
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value without them, names of fields included; a number that is one becomes text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key) if isinstance(key, str) else key: self.value(item) for key, item in value.items()}
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = str(value)
            clean = self.text(shown)
            return value if clean == shown else clean
        return value


known = Redaction()
"""Every secret that this process has read lately, for what is said outside an attempt: the log."""

_current: ContextVar[Redaction | None] = ContextVar("redaction", default=None)


@contextmanager
def redacting() -> Iterator[Redaction]:
    """Collect what is read while the block runs, in this task and in those that it starts."""
    redaction = Redaction()
    token = _current.set(redaction)
    try:
        yield redaction
    finally:
        _current.reset(token)


def attempt_redaction() -> Redaction:
    """Return the redaction of the attempt that runs; outside one, one that nobody reads."""
    found = _current.get()
    return Redaction() if found is None else found


def scrub_known(_logger: object, _method: str, rendered: Any) -> Any:
    """Strike every secret that this process knows out of a line, after the renderer (a structlog processor)."""
    return known.value(rendered) if known else rendered


def _longest_first(forms: Iterator[frozenset[str]]) -> tuple[str, ...]:
    return tuple(sorted(frozenset().union(*forms), key=lambda form: (-len(form), form)))


def _plain_forms(value: str) -> frozenset[str]:
    found: set[str] = set()
    # Clients and servers drop blanks around a header's value.
    for text in (value, value.strip()):
        data = text.encode("utf-8", "replace")
        encoded = {quote(data, safe=safe) for safe in ("", "/", _KEPT_IN_A_COMPONENT, _KEPT_IN_A_URL)} | {
            quote_plus(data)
        }
        escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        found |= {text, data.decode("latin-1"), html.escape(text), html.escape(text, quote=False)}
        found |= encoded | {_lower_hex(form) for form in encoded}
        found |= escaped | {form.replace("/", "\\/") for form in escaped} | {_upper_hex(form) for form in escaped}
        found |= {
            base64.b64encode(data).decode("ascii").rstrip("="),
            base64.urlsafe_b64encode(data).decode("ascii").rstrip("="),
        }
        if len(text) >= SHORTEST:
            # Digits of a shorter one turn up by chance.
            found |= {data.hex(), data.hex().upper()}
    for _ in range(_DEEPEST):
        # Told inside JSON that is told inside JSON.
        found |= {json.dumps(form)[1:-1] for form in found} | {
            json.dumps(form, ensure_ascii=False)[1:-1] for form in found
        }
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _coded_forms(value: str) -> frozenset[str]:
    """Return what base64 makes of the text in the middle of a longer one, at each of the three alignments."""
    data = value.strip().encode("utf-8", "replace")
    found: set[str] = set()
    for before, first in ((0, 0), (1, 2), (2, 3)):
        whole = (before + len(data)) * 8 // 6
        for coded in (base64.b64encode(bytes(before) + data), base64.urlsafe_b64encode(bytes(before) + data)):
            found.add(coded.decode("ascii")[first:whole])
    return frozenset(form for form in found if len(form) >= _SHORTEST_CODED)


def _without_word(text: str, form: str) -> str:
    """Strike out the whole run of base64 around each occurrence: its edges hold bits of the secret."""
    pieces: list[str] = []
    position = 0
    while (at := text.find(form, position)) >= 0:
        start, end = at, at + len(form)
        while start > position and text[start - 1] in _BASE64:
            start -= 1
        while end < len(text) and text[end] in _BASE64:
            end += 1
        pieces += [text[position:start], MASK]
        position = end
    return "".join([*pieces, text[position:]])


def _lower_hex(form: str) -> str:
    return _escapes(form, "%", 2, str.lower)


def _upper_hex(form: str) -> str:
    return _escapes(form, "\\u", 4, str.upper)


def _escapes(form: str, mark: str, digits: int, change: Any) -> str:
    head, *rest = form.split(mark)
    return head + "".join(mark + change(piece[:digits]) + piece[digits:] for piece in rest)
