"""Circuit breakers as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class BreakerDocument(BaseModel):
    """The circuit of one dependency, shared by all workers."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["model:openai/gpt-5-mini"])
    state: Literal["closed", "open", "half-open"]
    calls: int = Field(description="in the window")
    failures: int = Field(description="in the window")
    open_until: datetime | None = Field(description="then one call tries the dependency")
    last_error: str | None
    last_error_at: datetime | None


class BreakerList(BaseModel):
    """The circuits that were used lately, by name."""

    items: list[BreakerDocument]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
