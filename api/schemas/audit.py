"""The audit log as the API shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class AuditDocument(BaseModel):
    """One write, or the attempt of one."""

    entry_id: str = Field(examples=["1790000000000-0"])
    at: datetime
    who: str = Field(description="name of the API key", examples=["kim"])
    key_id: str
    role: str
    operation: str = Field(examples=["pause_execution"])
    method: str
    target: str = Field(examples=["/api/v1/executions/ex-k3v7q2mzt4ahb6wnc5xdyrpejs/pause"])
    status: int = Field(description="of the answer", examples=[202])
    reason: str = Field(description="as the request gave it", examples=["waiting for the new price list"])
    address: str


class AuditPage(BaseModel):
    """Entries, newest first."""

    items: list[AuditDocument]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
