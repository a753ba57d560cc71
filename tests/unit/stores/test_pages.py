"""Cursors: only the list that gave one takes it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution.errors import RequestError
from orchestrator.stores.pages import decode_cursor, encode_cursor


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64))
def test_a_cursor_comes_back_as_the_id_that_it_was_made_of(last_id: str) -> None:
    assert decode_cursor("definitions", encode_cursor("definitions", last_id)) == last_id


@given(st.text(min_size=1, max_size=80))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(RequestError):
        decode_cursor("definitions", text + "=")
    with pytest.raises(RequestError):
        decode_cursor("definitions", encode_cursor("agents", "sales") + text)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(RequestError, match="not given by this list"):
        decode_cursor("definitions", encode_cursor("agents", "sales"))


def test_no_cursor_is_the_start() -> None:
    assert decode_cursor("definitions", None) == decode_cursor("definitions", "") == ""
