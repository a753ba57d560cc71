"""The service itself: is it there, can it work, who may use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.sdk.calls import Call, delete, fields, get, path, post
from orchestrator.sdk.documents import (
    AuditDocument,
    AuditPage,
    CodecPayloads,
    CreatedKey,
    KeyDocument,
    KeyList,
    Live,
    Ready,
)
from orchestrator.sdk.errors import ClientError
from orchestrator.sdk.flows import NEVER, Flow, exchange
from orchestrator.sdk.methods import Method, Operation, items_of


class ServiceOperations:
    """Health and access."""

    @Operation
    def get_liveness(self) -> Call[Live]:
        """Whether this process serves."""
        return get("/health/live")

    @Operation
    def get_readiness(self) -> Call[Ready]:
        """Whether executions can run; an `ApiProblem` of 503 names what is away."""
        return get("/health/ready")

    @Operation
    def get_metrics(self) -> Call[str]:
        """What the API process that answers counts, in Prometheus's format."""
        return get("/metrics", form="text")

    @Operation
    def list_keys(self, *, limit: int | None = None, cursor: str | None = None) -> Call[KeyList]:
        """A page of API keys without their secrets."""
        return get("/keys/", limit=limit, cursor=cursor)

    iter_keys = items_of(list_keys, KeyDocument)

    @Operation
    def create_key(self, name: str, role: str, *, expires_in_days: int | None = None) -> Call[CreatedKey]:
        """Make an API key; `key` in the answer is shown this once."""
        return post("/keys/", fields(name=name, role=role, expires_in_days=expires_in_days))

    @Operation
    def revoke_key(self, key_id: str) -> Call[KeyDocument]:
        """Revoke an API key for ever."""
        return delete(path("keys", key_id))

    @Operation
    def list_audit_entries(self, *, limit: int | None = None, cursor: str | None = None) -> Call[AuditPage]:
        """A page of the writes that were asked for, newest first."""
        return get("/audit/", limit=limit, cursor=cursor)

    iter_audit_entries = items_of(list_audit_entries, AuditDocument)

    @Operation
    def decode_payloads(
        self, payloads: Sequence[Mapping[str, Any]], *, preserve_storage_refs: bool | None = None
    ) -> Call[CodecPayloads]:
        """Payloads of a Temporal history, in protobuf's JSON, with large values in the place of their references.

        Args:
            payloads: as the history has them.
            preserve_storage_refs: leave the references.
        """
        return post(
            "/codec/decode",
            {"payloads": list(payloads)},
            repeatable=True,
            preserveStorageRefs=preserve_storage_refs,
        )

    @Operation
    def download_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> Call[CodecPayloads]:
        """The same, as the Web UI asks for single large values."""
        return post("/codec/download", {"payloads": list(payloads)}, repeatable=True)

    @Operation
    def open_codec_session(self) -> Call[None]:
        """Keep the key in a cookie that the codec alone is sent; for browsers."""
        return post("/codec/session", repeatable=True)

    @Method
    def is_ready(self: Any) -> Flow[bool]:
        """Whether executions can run now: Temporal, Redis and a polling worker."""
        try:
            yield from exchange(ServiceOperations.get_readiness.call(self), NEVER)
        except ClientError:
            return False
        return True
