"""Cursors: only the list that gave one takes it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution.errors import RequestError
from orchestrator.stores.pages import decode_cursor, decode_number, encode_cursor, page_of


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


def test_numbers_come_back_and_what_is_none_is_refused() -> None:
    assert decode_number("flow", encode_cursor("flow", "12")) == 12
    assert decode_number("flow", None) is None
    for text in ("twelve", "-1", "\u0664", "1" * 11):
        with pytest.raises(RequestError, match="not given by this list"):
            decode_number("flow", encode_cursor("flow", text))


def test_pages_of_a_list_at_hand_cover_it_once_also_when_the_last_item_has_gone() -> None:
    names = ["a", "b", "c", "d", "e"]
    first = page_of("names", names, str, limit=2, cursor=None)
    assert (first.items, page_of("names", names, str, limit=5, cursor=None).next_cursor) == (["a", "b"], None)
    names.remove("b")
    second = page_of("names", names, str, limit=2, cursor=first.next_cursor)
    last = page_of("names", names, str, limit=2, cursor=second.next_cursor)
    assert (second.items, last.items, last.next_cursor) == (["c", "d"], ["e"], None)
    assert page_of("names", [], str, limit=2, cursor=None).items == []
