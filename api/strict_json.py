"""Parses JSON as RFC 8259 and I-JSON (RFC 7493) mean it, and says where it is not."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from orchestrator.execution.errors import MalformedJson

DEPTH_LIMIT = 64
"""Levels of nesting that a body may have; RFC 8259, section 9 lets a parser set one."""

_WALK_CHARACTERS = 64 * 1024
"""How far the slow walk looks for the place of an error: it takes about a microsecond for each token."""
_LONGEST_SAFE_INTEGER = 18
_LONG_NUMBER = re.compile(rf"[0-9]{{{_LONGEST_SAFE_INTEGER + 1}}}")
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)"""
    r"""|(?P<word>[^\s\[\]{},:"]+)""",
    re.DOTALL,
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Unfit(Exception):
    """JSON that the fast parser met and that we refuse; the slow walk finds out where."""


_TOO_DEEP = f"the body is nested deeper than {DEPTH_LIMIT} levels"
_TWICE = "a name stands twice in one object"
_TOO_LONG = "an integer does not fit into 64 bits"
_OUT_OF_RANGE = "a number is beyond the range of a double"
_HALF_PAIR = "a text holds half of a surrogate pair"


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Refused besides what is not JSON: NaN and infinities, duplicate names, invalid UTF-8, lone surrogates, integers
    over 64 bits, numbers over a double's range, more than `DEPTH_LIMIT` levels.

    Raises:
        MalformedJson: with `details.line`, `.column` (both from 1) and `.offset` (characters from 0).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(
            f"the body is not UTF-8: byte {error.start} cannot be decoded",
            hint="send JSON in UTF-8",
            details={"offset": error.start},
        ) from None
    try:
        return _parse_fast(text)
    except json.JSONDecodeError as error:
        # The walk explains some texts better than the parser: what it refuses, it refuses first.
        raise _malformed(text, _find_unfit(text) or _Place(error.pos, f"the body is not JSON: {error.msg}")) from None
    except RecursionError:
        raise _malformed(text, _find_unfit(text) or _Place(None, _TOO_DEEP)) from None
    except _Unfit as error:
        raise _malformed(text, _find_unfit(text) or _Place(None, str(error))) from None


def _parse_fast(text: str) -> Any:
    value = json.loads(
        text,
        object_pairs_hook=_object_without_duplicates,
        parse_constant=_refuse,
        # A call per integer is dear: only where some number is long enough to be too large.
        parse_int=_integer if _LONG_NUMBER.search(text) else int,
    )
    if text.count("[") + text.count("{") > DEPTH_LIMIT and _deeper_than_limit(value):
        raise _Unfit(_TOO_DEEP)
    # One pass in C finds infinities (1e999) and lone surrogates.
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _Unfit(_HALF_PAIR) from error
    except ValueError as error:
        raise _Unfit(_OUT_OF_RANGE) from error
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unfit(_TWICE)
    return found


def _refuse(word: str) -> Any:
    raise _Unfit(f"{word} is not JSON")


def _integer(digits: str) -> int:
    if not _fits_64_bits(digits):
        raise _Unfit(_TOO_LONG)
    return int(digits)


def _fits_64_bits(digits: str) -> bool:
    return len(digits) <= 20 and -(2**63) <= int(digits) < 2**63


def _deeper_than_limit(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        if not level:
            return False
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [child for children in inner for child in children]
    return any(isinstance(item, (dict, list)) for item in level)


@dataclass(frozen=True)
class _Place:
    offset: int | None
    message: str
    hint: str | None = None


def _malformed(text: str, place: _Place) -> MalformedJson:
    if place.offset is None:
        return MalformedJson(place.message, hint=place.hint)
    line = text.count("\n", 0, place.offset) + 1
    column = place.offset - (text.rfind("\n", 0, place.offset) + 1) + 1
    return MalformedJson(
        f"{place.message} (line {line}, column {column})",
        hint=place.hint,
        details={"line": line, "column": column, "offset": place.offset},
    )


def _find_unfit(text: str) -> _Place | None:
    """Walk the first tokens to one that we refuse; None when it is plain bad syntax or stands further on."""
    names: list[set[str] | None] = []
    expect_name = False
    for match in _TOKEN.finditer(text, 0, _WALK_CHARACTERS):
        kind, token = match.lastgroup, match.group()
        if kind == "open":
            names.append(set() if token == "{" else None)
            expect_name = token == "{"
            if len(names) > DEPTH_LIMIT:
                return _Place(match.start(), _TOO_DEEP, "flatten it")
        elif kind == "close":
            if names:
                names.pop()
            expect_name = False
        elif kind == "comma":
            expect_name = bool(names) and names[-1] is not None
        elif kind == "colon":
            expect_name = False
        else:
            place = _unfit_word(match) if kind == "word" else _unfit_text(match, names[-1] if expect_name else None)
            if place:
                return place
    return None


def _unfit_text(match: re.Match[str], names: set[str] | None) -> _Place | None:
    try:
        text = json.loads(match.group(), strict=False)
    except ValueError:
        return None
    if _LONE_SURROGATE.search(text):
        return _Place(match.start(), _HALF_PAIR, "write the whole pair, or the character itself")
    if names is not None:
        if text in names:
            return _Place(match.start(), f"the name '{text[:100]}' stands twice in one object", "keep one of them")
        names.add(text)
    return None


def _unfit_word(match: re.Match[str]) -> _Place | None:
    word = match.group()
    if word in {"NaN", "Infinity", "-Infinity"}:
        return _Place(match.start(), f"{word} is not JSON", "use null or a text")
    if re.fullmatch(r"-?(0|[1-9][0-9]*)", word):
        if not _fits_64_bits(word):
            return _Place(match.start(), _TOO_LONG, "send it as a text")
    elif re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", word) and not math.isfinite(float(word)):
        return _Place(match.start(), _OUT_OF_RANGE, "send it as a text")
    return None
