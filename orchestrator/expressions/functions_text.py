"""Functions of text, and the encodings."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from urllib.parse import quote

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, invalid_unicode, need_integer, need_text
from orchestrator.expressions.meter import SLOT, Evaluation, Json
from orchestrator.expressions.values import contains, mismatch, type_name


def encoded(state: Evaluation, function: str, text: str) -> bytes:
    """Return the UTF-8 bytes of a text.

    Raises:
        ExpressionError: `E_TYPE` for half of a surrogate pair, which UTF-8 does not have.
    """
    state.text(len(text))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid_unicode(function) from None


def _case(function: str, change: Callable[[str], str]) -> Callable[[Evaluation, Json], str]:
    def run(state: Evaluation, text: Json) -> str:
        state.text(len(need_text(function, text)))
        if not text.isascii():
            state.charge(len(text) >> 5)
        result = change(text)
        # Some characters become up to three: ß is SS.
        state.allocate(max(0, len(result) - len(text)))
        return result

    return run


def _split(state: Evaluation, text: Json, separator: Json) -> list[str]:
    state.text(len(need_text("split", text)))
    if not need_text("split", separator):
        raise ExpressionError("E_RANGE", "the separator of split cannot be empty")
    state.charge(len(separator) >> 6)
    count = text.count(separator)
    state.allocate(2 * SLOT + 2 * SLOT * count)
    state.charge(count >> 3)
    return text.split(separator)  # type: ignore[no-any-return]


def _replace(state: Evaluation, text: Json, old: Json, new: Json) -> str:
    state.charge(len(need_text("replace", text)) >> 6)
    if not need_text("replace", old):
        raise ExpressionError("E_RANGE", "replace cannot look for an empty string")
    count = text.count(old)
    state.text(len(text) + count * (len(need_text("replace", new)) - len(old)))
    state.charge((count >> 3) + (len(old) >> 6))
    return text.replace(old, new)  # type: ignore[no-any-return]


def _contains(state: Evaluation, container: Json, value: Json) -> bool:
    if type_name(container) not in ("array", "string", "object"):
        mismatch("contains needs a string or an array", container)
    return contains(state, container, value)


def _starts_with(state: Evaluation, text: Json, part: Json) -> bool:
    state.charge(len(need_text("starts_with", part)) >> 6)
    return need_text("starts_with", text).startswith(part)


def _ends_with(state: Evaluation, text: Json, part: Json) -> bool:
    state.charge(len(need_text("ends_with", part)) >> 6)
    return need_text("ends_with", text).endswith(part)


def _truncate(state: Evaluation, text: Json, length: Json, ending: Json = "") -> str:
    if need_integer("truncate", length) < 0:
        raise ExpressionError("E_RANGE", "the length of truncate cannot be negative")
    if len(need_text("truncate", text)) <= length:
        return text  # type: ignore[no-any-return]
    need_text("truncate", ending)
    state.text(length)
    return (text[: max(0, length - len(ending))] + ending)[:length]  # type: ignore[no-any-return]


def _repeat(state: Evaluation, text: Json, times: Json) -> str:
    if need_integer("repeat", times) < 0:
        raise ExpressionError("E_RANGE", "repeat cannot repeat less than 0 times")
    state.text(len(need_text("repeat", text)) * times)
    return text * times if text else ""


def _url_encode(state: Evaluation, text: Json) -> str:
    data = encoded(state, "url_encode", need_text("url_encode", text))
    state.charge(len(data) >> 4)
    state.allocate(3 * len(data))
    return quote(data, safe="")


def _base64_encode(state: Evaluation, text: Json) -> str:
    data = encoded(state, "base64_encode", need_text("base64_encode", text))
    state.text(4 * len(data) // 3 + 4)
    return base64.b64encode(data).decode()


def _base64_decode(state: Evaluation, text: Json) -> str:
    data = encoded(state, "base64_decode", need_text("base64_decode", text))
    state.text(len(data))
    data = data.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True).decode()
    except UnicodeDecodeError:
        raise ExpressionError("E_TYPE", "base64_decode gives bytes that are not UTF-8 text") from None
    except binascii.Error:
        raise ExpressionError("E_TYPE", "base64_decode needs base64, the string is none") from None


def _sha256(state: Evaluation, text: Json) -> str:
    data = encoded(state, "sha256", need_text("sha256", text))
    state.allocate(64)
    return hashlib.sha256(data, usedforsecurity=False).hexdigest()


TEXT_FUNCTIONS = {
    "upper": Function("upper(text)", _case("upper", str.upper)),
    "lower": Function("lower(text)", _case("lower", str.lower)),
    "trim": Function("trim(text)", _case("trim", str.strip)),
    "split": Function("split(text, separator)", _split, 2, 2),
    "replace": Function("replace(text, old, new)", _replace, 3, 3),
    "contains": Function("contains(text, part)", _contains, 2, 2),
    "starts_with": Function("starts_with(text, part)", _starts_with, 2, 2),
    "ends_with": Function("ends_with(text, part)", _ends_with, 2, 2),
    "truncate": Function("truncate(text, length, ending?)", _truncate, 2, 3),
    "repeat": Function("repeat(text, times)", _repeat, 2, 2),
    "url_encode": Function("url_encode(text)", _url_encode, cost=4),
    "base64_encode": Function("base64_encode(text)", _base64_encode, cost=4),
    "base64_decode": Function("base64_decode(text)", _base64_decode, cost=4),
    "sha256": Function("sha256(text)", _sha256, cost=4),
}
