"""From the names of secrets to their values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Self

from orchestrator.definition.secret_names import is_secret_name
from orchestrator.execution.errors import Unavailable
from orchestrator.execution.errors_steps import MissingSecret
from orchestrator.secrets.providers import PREFIX, SecretProvider, configured_providers
from orchestrator.secrets.redaction import attempt_redaction, known
from orchestrator.settings import Settings

PATIENCE_SECONDS: Final = 10.0


class Secrets:
    """All sources of one process.

    Args:
        providers: names and sources, in the order in which they are asked.
    """

    def __init__(self, providers: Iterable[tuple[str, SecretProvider]] = ()) -> None:
        self._providers: Sequence[tuple[str, SecretProvider]] = tuple(providers)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the sources that the settings and the installed packages name."""
        return cls(configured_providers(settings))

    async def values(self, names: Iterable[str], step: str) -> dict[str, str]:
        """Return the value of every name; from now on logs and the running attempt's report are scrubbed of them.

        Args:
            names: of secrets.
            step: path of the step that names them, for the error.

        Raises:
            MissingSecret: a name that no source has.
            Unavailable: a source failed.
        """
        found: dict[str, str] = {}
        missing: list[str] = []
        for name in dict.fromkeys(names):
            value = await self._value(name, step)
            if value:
                found[name] = value
            else:
                missing.append(name)
        if missing:
            raise _missing(missing, step)
        redaction = attempt_redaction()
        for value in found.values():
            known.add(value)
            redaction.add(value)
        return found

    async def _value(self, name: str, step: str) -> str | None:
        if not is_secret_name(name):
            return None
        for source, provider in self._providers:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    value = await provider.get(name)
            except Exception as error:
                # Its text and its cause are the source's own, and may quote anything.
                kind = type(error).__name__
                message = f"step '{step}': {source} failed for the secret '{name}' ({kind})"
                raise Unavailable(message, hint="see the worker's configuration of secrets") from None
            if value:
                return value
        return None


def _missing(names: Sequence[str], step: str) -> MissingSecret:
    listed = ", ".join(f"'{name}'" for name in names)
    many = len(names) > 1
    return MissingSecret(
        f"step '{step}': the {'secrets' if many else 'secret'} {listed} {'are' if many else 'is'} not configured",
        hint=f"set {PREFIX}{names[0]} in the worker's environment, or put a file '{names[0]}' into the folder that "
        "SECRETS_PATH names",
        details={"secrets": list(names)},
    )
