"""The text in which a state is carried: a line that tells the parts' lengths, the state, the outputs beside it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import from_json, to_json

Packed = Mapping[tuple[str, str], str]
"""Outputs as JSON, by scope id and step id."""
FORMAT = 1
"""Of the text; a later one stands behind the lengths, in the first line."""


class NewerFormat(Exception):
    """The text is of a format that came later than this program: a newer one can read it."""


def joined(core: str, packed: Packed) -> str:
    """Return one text.

    Args:
        core: the state's JSON, without the packed outputs.
        packed: those.
    """
    parts = [[*place, len(text)] for place, text in packed.items()]
    return "".join([to_json([len(core), parts]).decode(), "\n", core, *packed.values()])


def parted(text: str) -> tuple[str, dict[tuple[str, str], str]]:
    """Return the state's JSON and the packed outputs of a text that `joined` made.

    Before outputs were packed, the state was all there was.

    Raises:
        NewerFormat: a newer program made it.
        ValueError: none made it.
    """
    if not text.startswith("["):
        return text, {}
    position = text.index("\n") + 1
    length, parts, *later = from_json(text[:position])
    if later and isinstance(later[0], int) and later[0] > FORMAT:
        raise NewerFormat(f"the state is of format {later[0]}; this program knows format {FORMAT}")
    core, packed = text[position : position + length], dict[tuple[str, str], str]()
    position += length
    for scope_id, step_id, length in parts:
        packed[scope_id, step_id] = text[position : position + length]
        position += length
    if position != len(text):
        raise ValueError(f"the state's text has {len(text):,} characters; by its first line it has {position:,}")
    return core, packed
