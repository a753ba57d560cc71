"""Temporal's remote codec protocol."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MOST_PAYLOADS = 1000


class CodecPayloads(BaseModel):
    """Payloads of a history, in protobuf's JSON: bytes are base64."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "eyJsZWFkIjogMX0="}]}]
        }
    )

    payloads: list[dict[str, Any]] = Field(max_length=MOST_PAYLOADS)
