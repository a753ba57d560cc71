"""Event streams of the deployed service: a killed worker and many reconnects change no byte of what readers get."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from orchestrator.sdk import OrchestratorClient
from tests.fakes.model_behaviours import Gate, after
from tests.fakes.model_server import FakeModelServer
from tests.support.polling import wait_for
from tests.support.rest import Rest, lead_workflow, states
from tests.support.service_processes import Services


def test_readers_get_the_same_events_across_reconnects_and_the_sigkill_of_a_worker(
    services: Services, rest: Rest, model: FakeModelServer
) -> None:
    gate = Gate()
    model.then(after(gate), task="enrich_lead")
    execution_id = rest.start(lead_workflow())
    with OrchestratorClient(services.api_url) as client, ThreadPoolExecutor(1) as pool:
        whole = pool.submit(lambda: list(client.events(execution_id)))
        first = next(iter(client.events(execution_id)))
        wait_for(lambda: len(model.calls("enrich_lead")) == 1)
        services.worker.kill()
        services.worker.launch()
        gate.open()
        pieces = [first]
        for _ in range(50):
            piece = next(iter(client.events(execution_id, after=pieces[-1].id)), None)
            if piece is None:
                break
            pieces.append(piece)
        pieces += client.events(execution_id, after=pieces[-1].id)
        assert pieces == whole.result(60)
    known: dict[str, str] = {}
    for event in pieces:
        if event.type == "snapshot":
            known |= {step["path"]: step["state"] for step in event.data["steps"]}
        elif event.type == "step":
            known[event.data["path"]] = event.data["state"]
    assert pieces[-1].data["status"] == "completed"
    assert known == states(rest.read(execution_id))
