"""The text in which a state is carried: a line that tells the parts' lengths, the state, the outputs beside it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import from_json, to_json

Packed = Mapping[tuple[str, str], str]
"""Outputs as JSON, by scope id and step id."""


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
    """
    if not text.startswith("["):
        return text, {}
    position = text.index("\n") + 1
    length, parts = from_json(text[:position])
    core, packed = text[position : position + length], dict[tuple[str, str], str]()
    position += length
    for scope_id, step_id, length in parts:
        packed[scope_id, step_id] = text[position : position + length]
        position += length
    return core, packed
