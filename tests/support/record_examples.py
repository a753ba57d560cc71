"""Records answers of a real deployment as the contract's examples: `python -m tests.support.record_examples`.

It writes `api/schemas/examples.json`, an example for each document that has none in its code. Run it when a test says
that an example is none any more.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.app import create_app
from api.schemas.executions import LEAD
from api.schemas.schedules import NIGHTLY
from api.schemas.workflows import LEAD_PROCESSING
from orchestrator.settings import Settings
from tests.fakes.model_server import running_model_server
from tests.support.commands import ROOT
from tests.support.polling import wait_for
from tests.support.service_processes import Services, running_services

EXAMPLES = ROOT / "api" / "schemas" / "examples.json"
KEY = "a-bootstrap-key-of-forty-signs-for-examples"
LONGEST_LIST = 2
_PLACES = {"host": "worker-1", "address": "10.0.0.7", "pid": 4242, "key": "aok_3f9a2b1c04de_…"}
"""What tells of the machine that recorded, or would be a secret; and what stands for it."""

Call = tuple[str, str, Any]


def calls(execution_id: str) -> Iterator[Call]:
    """The requests whose answers are examples, in this order; `execution_id` has completed."""
    tuned = copy.deepcopy(LEAD_PROCESSING)
    tuned["steps"][0]["retry"] = {"max_attempts": 5}
    nobody = {"workflow_id": "lead-processing", "status": "failed"}
    execution = f"/executions/{execution_id}"
    yield "POST", "/workflows/validate", LEAD_PROCESSING
    yield "GET", "/workflows/?limit=1&text=lead", None
    yield "GET", "/workflows/lead-processing", None
    yield "PUT", "/workflows/lead-processing", tuned
    yield "GET", "/workflows/lead-processing/versions", None
    yield "GET", "/workflows/lead-processing/versions/1/diff/2", None
    yield "POST", "/workflows/lead-processing/simulate", {"input_data": LEAD}
    yield "POST", "/executions/bulk", {"action": "retry", "filter": nobody, "reason": "the provider is back"}
    yield "GET", "/executions/?limit=1&workflow_id=lead-processing", None
    yield "GET", f"{execution}/ledger", None
    yield "GET", f"{execution}/steps", None
    yield "GET", f"{execution}/steps/qualify_lead", None
    yield "GET", f"{execution}/graph", None
    yield "GET", "/agents/?limit=1", None
    yield "GET", "/agents/sales", None
    yield "GET", "/agents/sales/versions", None
    yield "GET", "/agents/sales/health", None
    tool = {"description": "Looks up a customer.", "http": {"url": "https://crm.example.com/customers"}}
    yield "PUT", "/tools/find-customer", tool
    yield "GET", "/tools/?limit=2", None
    yield "GET", "/breakers/", None
    yield "GET", "/breakers/model:openai/gpt-5-mini", None
    yield "POST", "/collections/", {"name": "articles", "dimensions": 384}
    yield "GET", "/collections/", None
    yield "POST", "/schedules/", {**NIGHTLY, "workflow_id": "lead-processing", "input_data": LEAD}
    yield "GET", "/schedules/", None
    yield "POST", "/expressions/evaluate", {"expression": "input.net * 1.19", "context": {"input": {"net": 100}}}
    yield "POST", "/keys/", {"name": "kim", "role": "operator"}
    yield "GET", "/keys/", None
    yield "GET", "/audit/?limit=2", None
    yield "GET", "/health/live", None
    yield "GET", "/health/ready", None


def record() -> dict[str, Any]:
    """Return an example for each document."""
    contract = create_app(Settings(_env_file=None)).openapi()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, running_model_server() as model:
        settings = {"API_AUTH": "on", "API_BOOTSTRAP_KEY": KEY}
        with running_services(Path(folder), model.url, **settings) as services:
            _sent(services, "POST", "/workflows/", LEAD_PROCESSING)
            started = _sent(services, "POST", "/workflows/lead-processing/execute", {"input_data": LEAD})
            execution_id = started["execution_id"]
            wait_for(lambda: _sent(services, "GET", f"/executions/{execution_id}", None)["status"] == "completed", 30)
            listed = "/executions/?workflow_id=lead-processing&status=completed"
            wait_for(lambda: bool(_sent(services, "GET", listed, None)["items"]), 30)
            for call in calls(execution_id):
                answer = _sent(services, *call)
                found.setdefault(_name_of(contract, *call[:2]), _shown(answer))
    found["KeyDocument"] = found["KeyList"]["items"][0]
    return dict(sorted(found.items()))


def _sent(services: Services, method: str, path: str, body: Any) -> Any:
    answer = services.http.request(method, path, **({} if body is None else {"json": body}))
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def _name_of(contract: dict[str, Any], method: str, path: str) -> str:
    """The name of the schema of this request's answer: that of the template which fits with the fewest parameters."""
    asked = path.partition("?")[0].split("/")
    fitting = [
        (sum("{" in part for part in parts), item[method.lower()])
        for template, item in contract["paths"].items()
        if method.lower() in item
        and len(parts := template.removeprefix("/api/v1").split("/")) <= len(asked)
        and all("{" in part or part == given for part, given in zip(parts, asked, strict=False))
    ]
    _, operation = min(fitting, key=lambda one: (-_length(contract, one[1]), one[0]))
    content = next(r["content"] for status, r in operation["responses"].items() if status[0] == "2" and "content" in r)
    return str(content["application/json"]["schema"]["$ref"]).rpartition("/")[2]


def _length(contract: dict[str, Any], operation: dict[str, Any]) -> int:
    return next(len(path.split("/")) for path, item in contract["paths"].items() if operation in item.values())


def _shown(value: Any, name: str = "") -> Any:
    if name in _PLACES and value:
        return _PLACES[name]
    if isinstance(value, list):
        return [_shown(item) for item in value[:LONGEST_LIST]]
    if isinstance(value, dict):
        return {key: _shown(item, key) for key, item in value.items()}
    if isinstance(value, str) and "127.0.0.1" in value:
        return "" if name == "detail" else None
    return value


if __name__ == "__main__":
    EXAMPLES.write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n")
