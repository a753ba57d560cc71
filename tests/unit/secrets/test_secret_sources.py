"""Where secrets come from: the environment, a folder, plugged-in sources; and what is said when there is none."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from orchestrator.execution.errors import Unavailable
from orchestrator.execution.errors_steps import MissingSecret
from orchestrator.secrets import EnvironmentSecrets, FolderSecrets, Secrets, providers
from orchestrator.settings import Settings


class Fixed:
    """A source of somebody's own."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []

    async def get(self, name: str) -> str | None:
        self.asked.append(name)
        return self.values.get(name)


class Broken:
    """A source whose error quotes what it must not."""

    async def get(self, name: str) -> str | None:
        raise RuntimeError("the vault says s3cret-value")


async def test_the_environment_goes_before_its_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SECRETS__A=from-file\nSECRETS__B='b ${A}'\nSECRETS__EMPTY=\nC=no\n")
    source = EnvironmentSecrets({"SECRETS__A": "from-environment", "SECRETS__a": "other"}, file)
    assert await source.get("A") == "from-environment"
    assert await source.get("a") == "other"
    assert await source.get("B") == "b ${A}"
    assert await source.get("C") is None
    assert not await source.get("EMPTY")
    file.write_text("SECRETS__B=changed\n")
    assert await source.get("B") == "changed"
    assert await EnvironmentSecrets({}, tmp_path / "absent").get("A") is None


async def test_a_file_is_read_again_after_it_was_replaced(tmp_path: Path) -> None:
    # As Kubernetes mounts a secret: links into a folder that is exchanged as a whole.
    for version, value in (("one", "first\n"), ("two", "second\r\n")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "KEY").write_bytes(value.encode())
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "KEY").symlink_to("data/KEY")
    source = FolderSecrets(tmp_path)
    assert await source.get("KEY") == "first"
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to("two")
    assert await source.get("KEY") == "second"
    assert await source.get("ABSENT") is None
    assert await source.get("one") is None
    assert await FolderSecrets(tmp_path / "nowhere").get("KEY") is None


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"x" * (64 * 1024 + 1)], ids=["not UTF-8", "too large"])
async def test_a_file_that_is_no_secret_fails_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "KEY").write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        await Secrets([("the folder", FolderSecrets(tmp_path))]).values(["KEY"], "call")
    assert caught.value.message == "step 'call': the folder failed for the secret 'KEY' (ValueError)"
    assert caught.value.retryable


async def test_the_first_source_that_has_it_wins_and_an_empty_value_counts_as_absent() -> None:
    first, second = Fixed(A="one", B=""), Fixed(A="two", B="two")
    found = await Secrets([("first", first), ("second", second)]).values(["A", "B", "A"], "call")
    assert found == {"A": "one", "B": "two"}
    assert (first.asked, second.asked) == (["A", "B"], ["B"])


async def test_missing_secrets_are_named_with_the_step_and_the_way_to_set_them() -> None:
    with pytest.raises(MissingSecret) as caught:
        await Secrets([("first", Fixed(A="one"))]).values(["A", "GONE", "LOST"], "items[3].call")
    assert caught.value.message == "step 'items[3].call': the secrets 'GONE', 'LOST' are not configured"
    assert "SECRETS__GONE" in (caught.value.hint or "")
    assert "SECRETS_PATH" in (caught.value.hint or "")
    assert caught.value.details == {"secrets": ["GONE", "LOST"]}
    assert not caught.value.retryable


async def test_a_name_that_is_none_never_reaches_a_source(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("leak")
    source = Fixed()
    sources = Secrets([("the folder", FolderSecrets(tmp_path / "folder")), ("other", source)])
    for name in ("../outside", "", "a/b", "a-b", "1a", "a" * 65, "a\n"):
        with pytest.raises(MissingSecret):
            await sources.values([name], "call")
    assert source.asked == []


async def test_a_source_that_fails_is_worth_another_try_and_is_not_quoted() -> None:
    with pytest.raises(Unavailable) as caught:
        await Secrets([("the provider 'vault'", Broken())]).values(["A"], "call")
    assert caught.value.message == "step 'call': the provider 'vault' failed for the secret 'A' (RuntimeError)"
    assert caught.value.retryable
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_the_sources_are_the_environment_then_the_folder_then_what_is_plugged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("plugged_b", "b"), ("plugged_a", "a")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[orchestrator.secrets]\n{folder} = {name}:source\n")
        (tmp_path / f"{name}.py").write_text(
            "class Source:\n"
            f"    async def get(self, name): return {folder!r} if name in ('BOTH', 'ONLY_{folder}') else None\n"
            "def source(settings): return Source()\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "BOTH").write_text("folder")
    (tmp_path / "secrets" / "ENV").write_text("folder")
    monkeypatch.setenv("SECRETS__ENV", "environment")
    settings = Settings(_env_file=None, secrets_path=tmp_path / "secrets")
    names = [name for name, _ in providers.configured_providers(settings)]
    assert names == ["the environment", "SECRETS_PATH", "the provider 'a'", "the provider 'b'"]
    found = await Secrets.from_settings(settings).values(["ENV", "BOTH", "ONLY_b"], "call")
    assert found == {"ENV": "environment", "BOTH": "folder", "ONLY_b": "b"}
