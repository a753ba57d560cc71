"""Conversations as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class SessionDocument(BaseModel):
    """What is kept of one conversation."""

    session_id: str = Field(examples=["customer-42"])
    messages: list[dict[str, Any]] = Field(examples=[[{"role": "user", "content": "Where is my order?"}]])
    summary: str | None = Field(description="of the messages before those that are kept")
    characters: int
    forgotten: int = Field(description="messages that were summarised or dropped")
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
