"""Secrets: where their values come from, and keeping them out of everything that is kept or shown.

A definition names a secret, `secrets.NAME`; the workflow carries the name alone. An activity asks `Secrets` for the
value just before it needs it, and whatever the activity gives back is scrubbed by the `Redaction` of its attempt.
"""

from orchestrator.secrets.providers import ENTRY_POINTS, EnvironmentSecrets, FolderSecrets, SecretProvider
from orchestrator.secrets.redaction import MASK, Redaction, attempt_redaction, redacting, scrub_known
from orchestrator.secrets.resolving import Secrets

__all__ = [
    "ENTRY_POINTS",
    "MASK",
    "EnvironmentSecrets",
    "FolderSecrets",
    "Redaction",
    "SecretProvider",
    "Secrets",
    "attempt_redaction",
    "redacting",
    "scrub_known",
]
