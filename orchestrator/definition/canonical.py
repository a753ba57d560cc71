"""The canonical form of a definition (RFC 8785) and its SHA-256."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import rfc8785

_OTHER_CHARACTERS = re.compile(r"[^a-z0-9_-]+")


def canonical_json(document: Any) -> bytes:
    """Return the RFC 8785 canonical JSON.

    Raises:
        ValueError: a number or text that the canonical form cannot carry (an integer beyond 2**53, NaN, a lone
            surrogate).
    """
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def canonical_sha256(document: Any) -> str:
    """Return the lower-case hex SHA-256 of the canonical JSON.

    Raises:
        ValueError: as `canonical_json`.
    """
    return hashlib.sha256(canonical_json(document)).hexdigest()


def derive_workflow_id(name: str) -> str:
    """Return the id that a name gives: lower-cased, runs of other characters as one `-`; empty when nothing is left."""
    return _OTHER_CHARACTERS.sub("-", name.lower()).strip("-_")[:63].rstrip("-")
