"""Signatures of webhooks: Standard Webhooks (https://www.standardwebhooks.com), and GitHub's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"
TOLERANCE_SECONDS: Final = 300
"""How far a signed time may be from now, by the specification's advice."""


def signing_key(secret: str) -> bytes:
    """Return the key that a secret stands for: `whsec_` and base64, or the text itself."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature` of a message."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def is_signed(secret: str, message_id: str, timestamp: str, header: str, body: bytes, now: float) -> bool:
    """Return whether a message of Standard Webhooks is genuine and fresh; a header may hold several signatures."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12) or not message_id:
        return False
    wanted = signature(secret, message_id, int(timestamp), body).encode()
    found = [hmac.compare_digest(wanted, item.encode("utf-8", "replace")) for item in header.split(" ")]
    return any(found) and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def is_signed_as_github(secret: str, header: str, body: bytes) -> bool:
    """Return whether `X-Hub-Signature-256` is genuine; it covers neither the time nor the delivery's id."""
    wanted = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), header.encode("utf-8", "replace"))
