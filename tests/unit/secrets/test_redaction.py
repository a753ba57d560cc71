"""Secrets are struck out in every form, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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


SPELLINGS: dict[str, Callable[[str], str]] = {
    "every octet in hexadecimal": lambda text: "".join(f"%{octet:02x}" for octet in text.encode()),
    "encodeURI": lambda text: quote(text, safe=";,/?:@&=+$-_.!~*'()#"),
    "a URL in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "JSON that spells out what HTML would read": lambda text: (
        json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026").replace("'", "\\u0027")
    ),
    "HTML by number": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML with other names": lambda text: html.escape(text).replace("&#x27;", "&apos;"),
    "a URL in HTML": lambda text: html.escape(quote(text, safe="<>&\"'")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=20, deadline=None)
@given(secret=st.text(st.sampled_from("aB3/+=&?%\"'<>~ ß😀-_:#\\"), min_size=6, max_size=20))
def test_no_spelling_of_another_writer_is_left(spelling: str, secret: str) -> None:
    assume(len(secret.strip()) >= 4 and not secret.endswith("\\"))
    redaction = Redaction()
    redaction.add(secret)
    spelled = SPELLINGS[spelling](secret.strip())
    found = redaction.text(f"before, {spelled}, after")
    assert spelled not in found
    assert MASK in found


def test_a_spelled_secret_is_found_anywhere_in_a_large_text_whose_escapes_are_many() -> None:
    redaction = Redaction()
    redaction.add("s3cret/value+")
    spelled = "".join(f"%{octet:02x}" for octet in b"s3cret/value+")
    for filling in ('\\"%41 &amp; +' * 10_000, "\\" * 70_000, "%25" * 30_000):
        for at in (0, 65_500, len(filling)):
            found = redaction.text(f"{filling[:at]} {spelled} {filling[at:]}")
            assert spelled not in found
            assert found.replace(MASK, spelled) == f"{filling[:at]} {spelled} {filling[at:]}"


def test_a_secret_is_found_in_text_that_is_nothing_but_escapes_whichever_they_are() -> None:
    redaction, secret = of("s3cret/value+", "an-other", "%41&amp;b\\\\n"), "s3cret/value+"
    spelled = "".join(f"\\u{ord(one):04x}" if at % 2 else f"%{ord(one):02X}" for at, one in enumerate(secret))
    fillings = (
        '\\"',
        "\\u00e9",
        "\\ud83d\\ude00",
        "%C3%A9",
        "%25",
        "&amp;",
        "&",
        "&nope;&#955;",
        "a+",
        "\0\\\\",
        "\\U00110000",
    )
    for filling in fillings:
        for times in (1, 40_000):
            text = filling * times
            assert redaction.text(f"{text} {spelled} {text}") == f"{text} {MASK} {text}", filling
            assert redaction.text(text) == text


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_hexadecimal_is_struck_out_in_both_cases_and_in_the_middle_of_a_dump(change: Callable[[str], str]) -> None:
    coded = change("user:s3cret-välue:end".encode().hex())
    secret = change("s3cret-välue".encode().hex())
    assert of("s3cret-välue").text(f"dump {coded}") == f"dump {coded.replace(secret, MASK)}"
    assert of("abc").text("616263") == "616263"


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
