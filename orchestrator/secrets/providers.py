"""Where the values of secrets come from: the environment, a folder of files, whatever somebody plugs in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol

from dotenv import dotenv_values

from orchestrator.settings import Settings

PREFIX: Final = "SECRETS__"
ENTRY_POINTS: Final = "orchestrator.secrets"
"""Entry points of this group are callables that take the settings and give a provider."""
LARGEST_BYTES: Final = 64 * 1024


class SecretProvider(Protocol):
    """A source of secrets. It keeps no value longer than it must: a changed secret counts from the next request on."""

    async def get(self, name: str) -> str | None:
        """Return the secret's value, or None where this source has none of the name."""


class EnvironmentSecrets:
    """`SECRETS__NAME` in the environment, else in `.env`, as with the settings.

    Args:
        environment: instead of the process's own.
        env_file: a file of such variables, read again for each secret; None: none is read.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, env_file: Path | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._env_file = env_file

    async def get(self, name: str) -> str | None:
        """Return the variable's value."""
        found = self._environment.get(PREFIX + name)
        if found or self._env_file is None:
            return found
        return (await asyncio.to_thread(dotenv_values, self._env_file, interpolate=False)).get(PREFIX + name)


class FolderSecrets:
    """One file per secret, called as the secret is: how Docker and Kubernetes mount them. Read anew each time.

    Args:
        folder: need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, name: str) -> str | None:
        """Return the file's text without the line break at its end.

        Raises:
            OSError: the file is there and cannot be read.
            ValueError: it is too large, or not UTF-8.
        """
        return await asyncio.to_thread(self._read, name)

    def _read(self, name: str) -> str | None:
        try:
            with (self._folder / name).open("rb") as file:
                data = file.read(LARGEST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"the file is larger than {LARGEST_BYTES} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            # The error of the codec quotes the bytes.
            raise ValueError("the file is not UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")


def configured_providers(settings: Settings) -> Iterator[tuple[str, SecretProvider]]:
    """Give every source with a name for it, in the order in which they are asked."""
    env_file = settings.model_config.get("env_file")
    yield "the environment", EnvironmentSecrets(env_file=Path(env_file) if isinstance(env_file, str) else None)
    if settings.secrets_path is not None:
        yield "SECRETS_PATH", FolderSecrets(settings.secrets_path)
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        yield f"the provider '{entry.name}'", entry.load()(settings)
