"""What embedding gives, and what may be embedded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.agents.prompts import sane
from orchestrator.execution.errors_steps import VectorRejected
from orchestrator.execution.messages import TokenUsage

MOST_TEXTS: Final = 1_000
"""Texts of one call."""
LONGEST_TEXT: Final = 100_000
"""Characters of one text; a model reads only the beginning of a text that is too long for it, or refuses it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector for each text, in order, and what it cost."""

    vectors: list[list[float]]
    model: str
    calls: tuple[TokenUsage, ...] = ()
    """What each call of the provider cost; none for the embedded model."""

    @property
    def usage(self) -> TokenUsage:
        """What all calls cost together."""
        return sum_usage(self.calls)


def sum_usage(calls: Iterable[TokenUsage]) -> TokenUsage:
    """Return what embedding calls cost together."""
    known = tuple(calls)
    tokens = sum(call.input_tokens for call in known)
    return TokenUsage(input_tokens=tokens, model_calls=sum(call.model_calls for call in known))


def check_texts(texts: Sequence[str]) -> list[str]:
    """Return texts that can be embedded, lone surrogates replaced.

    Raises:
        VectorRejected: one is blank or too long, or there are too many.
    """
    if len(texts) > MOST_TEXTS:
        raise VectorRejected(
            f"{len(texts):,} texts are to be embedded; one call takes {MOST_TEXTS:,}.",
            hint="Split them, for instance by a foreach over chunks.",
        )
    for index, text in enumerate(texts):
        if not text.strip():
            raise VectorRejected(f"Text {index} is blank: there is nothing to embed.")
        if len(text) > LONGEST_TEXT:
            raise VectorRejected(
                f"Text {index} has {len(text):,} characters; {LONGEST_TEXT:,} are allowed.",
                hint="Cut it into passages and store one document for each.",
            )
    return [sane(text) for text in texts]
