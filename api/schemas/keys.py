"""API keys as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.executions import Body
from orchestrator.stores.api_keys import NAME_PATTERN, Role


class NewKey(Body):
    """What a new API key shall be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "kim", "role": "operator"}, {"name": "ci", "role": "editor", "expires_in_days": 90}]
        }
    )

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = Field(
        description="who has it: the audit log and approvals speak of this name; unique among active keys"
    )
    role: Role = Field(description="each role may do what those before it may: viewer, operator, editor, admin")
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="never by default")


class KeyDocument(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    key_id: str = Field(description="the key begins with `aok_` and this", examples=["3f9a2b1c04de"])
    name: str
    role: Role
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedKey(KeyDocument):
    """A new API key."""

    key: str = Field("", description="the key itself: shown here, and never again")


class KeyList(BaseModel):
    """Keys in the order of their creation, revoked ones too."""

    items: list[KeyDocument]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
