"""Health reports."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Live(BaseModel):
    """The process serves."""

    status: Literal["ok"] = "ok"


class PartHealth(BaseModel):
    """One part that executions need or use."""

    status: Literal["ok", "down", "unknown"]
    detail: str
    latency_ms: float | None = None
    workers: list[dict[str, Any]] | None = Field(None, description="of the part `worker`: the living ones")


class Ready(BaseModel):
    """Whether executions can run; `model` and `vectors` are reported and do not decide."""

    status: Literal["ready", "not-ready"]
    parts: dict[str, PartHealth]
