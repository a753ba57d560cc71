"""Regular expressions, by RE2 (`google-re2`), which takes linear time in the text."""

from __future__ import annotations

import re
from typing import Any

import re2

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, invalid_unicode, need_text
from orchestrator.expressions.meter import Evaluation, Json
from orchestrator.expressions.values import mismatch

_LONGEST = 512
_LARGEST = 2_000
# Where the states of its DFA do not fit, RE2 runs an NFA: 2.4 ns per instruction and character, measured.
_PER_UNIT = 300
_MAX_MEMORY = 1 << 19
_REPETITION = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{0,4}))?\}")


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return options


_OPTIONS = _options()


def pattern_size(pattern: str) -> int:
    """Return an upper estimate of the instructions of a pattern.

    RE2 knows the exact number, but it differs between versions of the library, and workers must charge alike.
    """
    sizes = [0]
    last = position = 0
    folds = 1
    while position < len(pattern):
        character = pattern[position]
        step = 1
        if character == "{" and (found := _REPETITION.match(pattern, position)):
            count = max(int(found[1]), int(found[3] or 0), 1)
            sizes[-1] += last * count
            step = len(found[0])
        elif character == "(":
            if pattern.startswith("(?", position) and "i" in pattern[position : position + 6]:
                folds = 2
            sizes.append(2)
            last = 0
        elif character == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        else:
            last, step = _atom(pattern, position)
            sizes[-1] += last
        position += step
    return folds * sum(sizes)


def _atom(pattern: str, position: int) -> tuple[int, int]:
    """Return the instructions of a character, an escape or a class, and its length in the pattern."""
    character = pattern[position]
    if character == "\\":
        kind = pattern[position + 1 : position + 2]
        length = 2
        if pattern.startswith("{", position + 2):
            length = max(2, pattern.find("}", position) - position + 1)
        return (150 if kind in ("p", "P") else 8), length
    if character == "[":
        end = position + 2 + (1 if pattern.startswith("[^", position) else 0)
        while end < len(pattern) and pattern[end] != "]":
            end += 2 if pattern[end] == "\\" else pattern.find(":]", end) - end + 2 if _named(pattern, end) else 1
        content = pattern[position : end + 1]
        return 12 + 4 * len(content) + 150 * (content.count("\\p") + content.count("\\P")), len(content)
    return (12 if character == "." else 1 if character.isascii() else 4), 1


def _named(pattern: str, position: int) -> bool:
    return pattern.startswith("[:", position) and ":]" in pattern[position:]


def _compile(state: Evaluation, pattern: str) -> tuple[Any, int]:
    """Return the compiled pattern and its size; compiling is charged once per evaluation and pattern."""
    if state.patterns is None:
        state.patterns = {}
    if len(pattern) > _LONGEST:
        raise ExpressionError("E_PATTERN", f"the pattern is longer than {_LONGEST} characters")
    known: tuple[Any, int] | None = state.patterns.get(pattern)
    if known is not None:
        return known
    size = pattern_size(pattern)
    state.charge(32 + len(pattern) + size // 2)
    state.allocate(len(pattern) + 8 * min(size, _LARGEST))
    if size > _LARGEST:
        raise ExpressionError("E_PATTERN", "the pattern is too large", hint="use smaller repetitions than {n}")
    try:
        compiled = re2.compile(pattern, _OPTIONS)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args and isinstance(error, re2.error) else "no valid Unicode"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ExpressionError(
            "E_PATTERN",
            f"the pattern is not valid: {text}",
            hint="patterns are RE2: no look-around and no back-references",
        ) from None
    state.patterns[pattern] = compiled, size
    return compiled, size


def _search(state: Evaluation, function: str, text: Json, pattern: Json) -> Any:
    need_text(function, text)
    compiled, size = _compile(state, need_text(function, pattern))
    state.charge((len(text) >> 5) + len(text) * size // _PER_UNIT)
    state.allocate(len(text))
    try:
        return compiled.search(text)
    except UnicodeError:
        raise invalid_unicode(function) from None


def _matches(state: Evaluation, text: Json, pattern: Json) -> bool:
    return _search(state, "matches", text, pattern) is not None


def _extract(state: Evaluation, text: Json, pattern: Json, group: Json = None) -> str | None:
    found = _search(state, "extract", text, pattern)
    groups = _compile(state, pattern)[0].groups
    if group is None:
        group = 1 if groups else 0
    if type(group) is str:
        names = _compile(state, pattern)[0].groupindex
        if group not in names:
            raise ExpressionError("E_RANGE", f"the pattern has no group '{group[:40]}'")
        group = names[group]
    if type(group) is not int:
        mismatch("the group of extract is a number or a name", group)
    if not 0 <= group <= groups:
        raise ExpressionError("E_RANGE", f"the pattern has no group {group}")
    if found is None:
        return None
    result: str | None = found.group(group)
    state.text(len(result or ""))
    return result


PATTERN_FUNCTIONS = {
    "matches": Function("matches(text, pattern)", _matches, 2, 2, cost=8),
    "extract": Function("extract(text, pattern, group?)", _extract, 2, 3, cost=10),
}
