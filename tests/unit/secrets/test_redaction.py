"""Secrets are struck out in every form, and nothing else is."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from orchestrator.secrets import MASK, Redaction, attempt_redaction, redacting
from tests.support.echo_endpoint import forms_of

SECRETS = ["s3cret-value", 'p&ss w"rd/+=é\\', "k" * 300, "  padded value  ", "zürich-Öl", "123456"]


def of(*values: str) -> Redaction:
    redaction = Redaction()
    for value in values:
        redaction.add(value)
    return redaction


@pytest.mark.parametrize("secret", SECRETS)
def test_every_form_is_struck_out_wherever_it_stands(secret: str) -> None:
    redaction = of(secret)
    for name, form in forms_of(secret).items():
        assert form not in redaction.text(f"before: {form} after"), name
        assert form not in redaction.text(form), name
        assert redaction.text(f"before: {form} after").startswith("before: "), name


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
def test_base64_of_a_text_around_it_is_struck_out_as_a_whole(secret: str, before: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(f"{before}{secret}, and more".encode()).decode()
        clean = of(secret).text(f"Basic {coded} .")
        assert MASK in clean
        # Nothing decodes to a part of it.
        assert not any(coded[at : at + 8] in clean for at in range(len(before) * 2, len(coded) - 28))


def test_values_keep_their_shape_and_names_and_numbers_are_scrubbed_too() -> None:
    redaction = of("123456", "s3cret-value")
    value: Any = {"a s3cret-value": [1, True, None, 123456, 2.5, "x"], "b": {"c": "Bearer s3cret-value"}}
    assert redaction.value(value) == {"a ***": [1, True, None, "***", 2.5, "x"], "b": {"c": "Bearer ***"}}


def test_text_without_a_secret_stays_as_it_is() -> None:
    text = json.dumps({"a": "harmless", "b": base64.b64encode(b"harmless, too" * 50).decode()})
    assert of(*SECRETS).text(text) == text


def test_a_short_secret_is_struck_out_where_it_is_a_whole_text() -> None:
    assert of("abc").value(["abc", "abcd", " abc "]) == [MASK, "abcd", MASK]


def test_a_secret_inside_another_leaves_no_rest() -> None:
    assert of("token", "token-and-more").text("token-and-more token") == f"{MASK} {MASK}"


def test_the_end_of_a_cut_text_holds_no_beginning_of_a_secret() -> None:
    redaction = of("s3cret-value")
    assert redaction.cut_text("body: s3cret-va") == f"body: {MASK}"
    assert redaction.cut_text("body: plain") == "body: plain"
    assert redaction.cut_text("body: czNjcmV0LXZ") == f"body: {MASK}"


def test_only_the_latest_values_are_kept() -> None:
    redaction = Redaction(most=2)
    for value in ("first-value", "second-value", "first-value", "third-value"):
        redaction.add(value)
    assert redaction.text("first-value second-value third-value") == f"{MASK} second-value {MASK}"


def test_an_attempt_knows_its_own_secrets_alone() -> None:
    with redacting() as outer:
        attempt_redaction().add("outer-value")
        with redacting() as inner:
            attempt_redaction().add("inner-value")
        assert (outer.text("inner-value"), inner.text("outer-value")) == ("inner-value", "outer-value")
    attempt_redaction().add("nobody-reads-this")
    assert not attempt_redaction()
