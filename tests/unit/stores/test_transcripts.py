"""Parts of agents' conversations: kept once a store is back that was away, and waited for where one is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.execution.errors import ClaimMissing
from orchestrator.execution.messages_agents import TranscriptPart
from orchestrator.stores import transcripts
from orchestrator.stores.claims.file_claims import FileClaims
from orchestrator.stores.transcripts import Transcripts

SAID = [{"role": "user", "content": "hello"}]


async def test_an_answer_is_kept_once_the_store_is_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transcripts, "FIRST_PAUSE_SECONDS", 0.01)
    folder = tmp_path / "claims"
    folder.write_text("no folder")
    kept = Transcripts(FileClaims(folder))
    keeping = asyncio.create_task(kept.keep(SAID))
    done, _ = await asyncio.wait({keeping}, timeout=0.2)
    assert not done
    folder.unlink()
    part = await keeping
    assert await kept.load([part, TranscriptPart(messages=SAID)]) == [SAID, SAID]


async def test_a_part_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ClaimMissing) as caught:
        await Transcripts(FileClaims(tmp_path)).load([TranscriptPart(claim="0" * 64)])
    assert (caught.value.retryable, caught.value.parks) == (True, True)
