"""The strict JSON parser: what it takes, what it refuses, and where it says the fault is."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.strict_json import DEPTH_LIMIT, parse_json
from orchestrator.execution.errors import MalformedJson

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=30,
)


@given(JSON)
def test_it_reads_every_json_value_that_python_writes(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "says", "line", "column"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice", 1, 10),
        (b'{"a": {"b": 1},\n "c": {"b": 1, "b": 1}}', "'b' stands twice", 2, 16),
        (b'{"\\u0061": 1, "a": 2}', "'a' stands twice", 1, 15),
        (b"[1, NaN]", "NaN is not JSON", 1, 5),
        (b"[-Infinity]", "-Infinity is not JSON", 1, 2),
        (b"[1e999]", "beyond the range", 1, 2),
        (b"[9223372036854775808]", "64 bits", 1, 2),
        (b"-9223372036854775809", "64 bits", 1, 1),
        (b"1" * 5000, "64 bits", 1, 1),
        (b'{"a": "\\ud800"}', "surrogate", 1, 7),
        (b'{"\\udc00": 1}', "surrogate", 1, 2),
        (b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1), "nested deeper", 1, 65),
        (b"[" * 500_000, "nested deeper", 1, 65),
        (b'{"a":' * 100_000, "nested deeper", 1, 5 * DEPTH_LIMIT + 1),
        (b'{"a": 1,}', "is not JSON", 1, 9),
        (b"hello", "is not JSON", 1, 1),
        (b'{"a": 1} x', "Extra data", 1, 10),
        (b'"\x00"', "Invalid control character", 1, 2),
        (b"\xef\xbb\xbf{}", "BOM", 1, 1),
        (b" ", "is not JSON", 1, 2),
    ],
)
def test_it_refuses_what_is_not_interoperable_json_and_says_where(
    body: bytes, says: str, line: int, column: int
) -> None:
    with pytest.raises(MalformedJson, match=says) as caught:
        parse_json(body)
    assert (caught.value.details["line"], caught.value.details["column"]) == (line, column)


def test_it_refuses_bytes_that_are_not_utf8_and_names_the_byte() -> None:
    with pytest.raises(MalformedJson, match="byte 2") as caught:
        parse_json(b'{"\xff": 1}')
    assert caught.value.details == {"offset": 2}


@pytest.mark.parametrize("body", [b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT, b'"\\ud83d\\ude00"', b"9223372036854775807"])
def test_it_takes_what_lies_on_the_border(body: bytes) -> None:
    parse_json(body)


def test_a_name_may_stand_again_in_another_object() -> None:
    assert parse_json(b'[{"a": 1}, {"a": {"a": [{"a": 2}]}}]') == [{"a": 1}, {"a": {"a": [{"a": 2}]}}]


SOUND = b"[" + b'"ab",' * 350_000 + b"1]"


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b'"ab",' * 350_000 + b"NaN]",
        b"[" + b'{"a":1},' * 200_000 + b'{"a":1,"a":2}]',
        b"[" + b"[]," * 500_000 + b"1e999]",
    ],
)
def test_a_fault_at_the_end_of_a_large_body_does_not_take_long_to_explain(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(MalformedJson) as caught:
        parse_json(body)
    explained = time.process_time() - began
    began = time.process_time()
    parse_json(SOUND)
    # The walk for the place took hundreds of times as long before it was bounded.
    assert explained < 40 * (time.process_time() - began)
    assert "line" not in caught.value.details
