"""Conversations as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SessionDocument(BaseModel):
    """What is kept of one conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "customer-42",
                    "messages": [
                        {"role": "user", "content": "Where is my order?"},
                        {"role": "assistant", "content": "It left our warehouse this morning."},
                    ],
                    "summary": "Kim ordered two lamps on Monday.",
                    "characters": 53,
                    "forgotten": 6,
                    "created_at": "2026-11-22T14:02:50Z",
                    "updated_at": "2026-11-22T14:02:53Z",
                    "expires_at": "2026-12-22T14:02:53Z",
                }
            ]
        }
    )

    session_id: str = Field(examples=["customer-42"])
    messages: list[dict[str, Any]] = Field(examples=[[{"role": "user", "content": "Where is my order?"}]])
    summary: str | None = Field(description="of the messages before those that are kept")
    characters: int
    forgotten: int = Field(description="messages that were summarised or dropped")
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
