"""What monitoring sees: one trace from the request to the activities, metrics of both services, ids in logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from temporalio import bridge

from orchestrator.embedded.ports import LOOPBACK
from tests.fakes.model_behaviours import status
from tests.fakes.model_server import FakeModelServer
from tests.support.commands import ROOT, orchestrator
from tests.support.monitoring import label_pairs, metric_names
from tests.support.polling import wait_for
from tests.support.ports import free_port
from tests.support.rest import Rest, agent_step, lead_workflow
from tests.support.service_processes import Services, running_services
from tests.support.trace_collector import CollectedSpan, TraceCollector, trace_collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
REQUEST = "POST /api/v1/workflows/{workflow_id}/execute"


class Watched(NamedTuple):
    """A deployment whose traces and metrics are read, and what ran on it."""

    services: Services
    collector: TraceCollector
    metrics_address: str
    completed: str
    failed: str

    def metrics(self) -> dict[str, str]:
        """The text of both services."""
        worker = httpx2.get(f"http://{self.metrics_address}/metrics", trust_env=False)
        return {"worker": worker.text, "api": self.services.http.get("/metrics").text}


@pytest.fixture(scope="module")
def watched(counting_model: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Executions that complete and fail on services that are watched and forget every workflow between its tasks."""
    metrics_address = f"{LOOPBACK}:{free_port()}"
    prices = {"openai/*": {"input_per_million": 1000, "output_per_million": 1000}}
    with trace_collector() as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "WORKER_METRICS_ADDRESS": metrics_address,
            "WORKER_MAX_CACHED_WORKFLOWS": "0",
            "MODEL_PRICES": json.dumps(prices),
            "LOG_FORMAT": "json",
        }
        folder = tmp_path_factory.mktemp("watched")
        with running_services(folder, counting_model.url, **variables) as services:
            counting_model.forget()
            rest = Rest(services.http)
            workflow_id = rest.store(lead_workflow())
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
            start = rest.expect(202, "POST", f"/workflows/{workflow_id}/execute", json={}, headers=headers)
            assert rest.end_of(start["execution_id"])["status"] == "completed"
            counting_model.always(status(400, "no such model"))
            failed = rest.start({"name": "Refused", "steps": [agent_step("qualify_lead", "sales")]})
            assert rest.end_of(failed)["status"] == "failed"
            counting_model.forget()
            yield Watched(services, collector, metrics_address, start["execution_id"], failed)


def line_of(span: CollectedSpan, spans: list[CollectedSpan]) -> list[str]:
    """The names of a span and those above it, innermost first; what is above them all comes last, by its id."""
    by_id = {one.span: one for one in spans}
    names, above = [span.name], span.parent
    while above in by_id:
        names.append(by_id[above].name)
        above = by_id[above].parent
    return [*names, above]


def test_one_trace_goes_from_the_callers_span_to_every_activity(watched: Watched) -> None:
    def activities() -> list[CollectedSpan]:
        return [span for span in watched.collector.of(TRACE) if span.name == "RunActivity:invoke_model"]

    def is_whole() -> bool:
        # Each process sends its spans when they have ended, the caller's is in nobody's batch.
        names = {span.name for span in watched.collector.of(TRACE)}
        return len(activities()) == 2 and names >= {"RunWorkflow:AgentWorkflow", "StartWorkflow:AgentWorkflow", REQUEST}

    wait_for(is_whole, 30, "the trace")
    spans = watched.collector.of(TRACE)
    for span in activities():
        line = line_of(span, spans)
        assert [name for name in line if name != "fastapi.endpoint"] == [
            "RunActivity:invoke_model",
            "StartActivity:invoke_model",
            "RunWorkflow:AgentWorkflow",
            "StartWorkflow:AgentWorkflow",
            REQUEST,
            CALLER,
        ]
        assert span.service == "orchestrator-worker"
        assert span.attributes["orchestrator.execution_id"] == watched.completed
        assert span.attributes["orchestrator.outcome"] == "ok"
        assert span.attributes["gen_ai.usage.output_tokens"] > 0
    assert {span.attributes["orchestrator.step_path"] for span in activities()} == {"qualify_lead", "enrich_lead"}
    assert {span.service for span in spans} == {"orchestrator-api", "orchestrator-worker"}


def test_probes_and_scrapers_leave_no_traces(watched: Watched) -> None:
    watched.metrics()
    assert watched.services.http.get("/health/live").status_code == 200
    assert not [span for span in watched.collector.spans if "/health/" in span.name or span.name.endswith("/metrics")]


def test_the_worker_counts_executions_attempts_models_tokens_and_cost(watched: Watched) -> None:
    text = watched.metrics()["worker"]

    def value(name: str, **labels: str) -> float:
        wanted = [f'{label}="{given}"' for label, given in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))

    assert value("orchestrator_executions_closed_total", status="completed", error_type="") == 1
    assert value("orchestrator_executions_closed_total", workflow="refused", error_type="model-rejected") == 1
    assert value("orchestrator_execution_duration_seconds_count") == 2
    assert value("orchestrator_step_attempts_total", activity_type="invoke_model", outcome="ok") == 2
    assert value("orchestrator_step_attempts_total", outcome="model-rejected") == 1
    assert value("orchestrator_step_attempt_duration_seconds_count") == 3
    assert value("orchestrator_model_calls_total", outcome="ok") == 2
    tokens = value("orchestrator_model_tokens_total", direction="input")
    tokens += value("orchestrator_model_tokens_total", direction="output")
    assert tokens > 0
    assert value("orchestrator_model_call_cost_usd_sum") == pytest.approx(tokens * 1000 / 1e6)
    assert value("temporal_workflow_completed_total") >= 1
    for execution_id in (watched.completed, watched.failed):
        assert execution_id not in text, "labels have few values"


def test_the_api_counts_requests_by_operation_and_status(watched: Watched) -> None:
    http = watched.services.http
    http.get("/nowhere")
    http.request("BREW", "/workflows/")
    text = watched.metrics()["api"]
    assert re.search(
        r'^orchestrator_http_requests_total\{method="POST",operation="execute_workflow",status="202"\} 2\.0$',
        text,
        re.M,
    )
    assert 'method="GET",operation="",status="404"' in text
    assert 'method="other"' in text
    assert "BREW" not in text
    assert "orchestrator_http_request_duration_seconds_bucket" in text
    assert "process_resident_memory_bytes" in text
    assert watched.completed not in text


def test_what_the_dashboard_and_the_alerts_read_is_there_with_its_labels(watched: Watched) -> None:
    text = "".join(watched.metrics().values())
    # A healthy worker never counts a failed workflow task: the SDK that would is asked for the name.
    rare = {"temporal_workflow_task_execution_failed_total"}
    (library,) = Path(bridge.__path__[0]).glob("temporal_sdk_bridge*.so")
    sdk = library.read_bytes()
    assert all(name.removeprefix("temporal_").removesuffix("_total").encode() in sdk for name in rare)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = {re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines}
    assert metric_names() - names == rare | {"up"}
    for name, label in label_pairs():
        found = [line for line in lines if line.startswith(f"{name}{{")]
        assert any(f'{label}="' in line for line in found), f"{name} has no label {label}"


def test_an_open_event_stream_is_counted_while_it_is_read(watched: Watched) -> None:
    rest = Rest(watched.services.http)
    waits = {"name": "Waits", "steps": [{"step_id": "paid", "step_type": "wait_for_signal", "signal": "paid"}]}
    execution_id = rest.start(waits)

    def open_streams() -> float:
        (line,) = re.findall(r"^orchestrator_event_streams_open (.+)$", watched.metrics()["api"], re.M)
        return float(line)

    with watched.services.http.stream("GET", f"/executions/{execution_id}/events") as answer:
        assert answer.status_code == 200
        wait_for(lambda: open_streams() == 1, 10)
    wait_for(lambda: open_streams() == 0, 10)
    rest.act(execution_id, "cancel")


def test_lines_of_a_log_name_the_trace_that_they_belong_to(watched: Watched) -> None:
    lines = [json.loads(line) for line in (watched.services.folder / "worker.log").read_text().splitlines()]
    (failed,) = [line for line in lines if line.get("execution_id") == watched.failed]
    assert re.fullmatch(r"[0-9a-f]{32}", failed["trace_id"])
    assert re.fullmatch(r"[0-9a-f]{16}", failed["span_id"])
    audited = [json.loads(line) for line in (watched.services.folder / "api.log").read_text().splitlines()]
    assert TRACE in {line.get("trace_id") for line in audited}


def test_a_metrics_address_that_is_taken_is_told_with_the_way_out(watched: Watched, tmp_path: Path) -> None:
    variables = {**watched.services.environment, "WORKER_METRICS_ADDRESS": watched.metrics_address}
    done = orchestrator("worker", env={**variables, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert "WORKER_METRICS_ADDRESS" in done.stderr
    assert "Traceback" not in done.stderr


def test_executions_that_are_read_while_they_end_count_once(watched: Watched) -> None:
    """Without a cache a query plays the history again, up to a last task that may still be under way."""
    rest = Rest(watched.services.http)
    steps = [{"step_id": "a", "step_type": "wait", "seconds": 0.2}]
    workflow_id = rest.store({"name": "Read often", "steps": steps})

    def run(_: int) -> str:
        return str(rest.end_of(rest.execute(workflow_id))["status"])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(60))) == {"completed"}
    lines = watched.metrics()["worker"].splitlines()
    closed = [line for line in lines if line.startswith("orchestrator_executions_closed_total{")]
    assert [line.rpartition(" ")[2] for line in closed if f'workflow="{workflow_id}"' in line] == ["60"]
