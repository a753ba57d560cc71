"""Verifies inbound webhooks and reads what they start."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from api.dependencies import Services
from orchestrator.definition.models import Webhook
from orchestrator.execution.errors import Unavailable
from orchestrator.execution.errors_schedules import HookNotFound, InvalidSignature
from orchestrator.execution.errors_steps import MissingSecret
from orchestrator.secrets.webhooks import is_signed, is_signed_as_github
from orchestrator.stores.definitions import StoredDefinition


@dataclass(frozen=True, slots=True)
class HookMessage:
    """A genuine message: to which workflow, under which settings, and what tells it from others."""

    stored: StoredDefinition
    webhook: Webhook
    message_id: str


async def verify(services: Services, stored: StoredDefinition, headers: Headers, body: bytes) -> Webhook:
    """Return the definition's `webhook`, if the request is genuine.

    Raises:
        HookNotFound: the definition takes no webhooks.
        InvalidSignature: the signature is absent, wrong or too old.
        Unavailable: the secret is not there.
    """
    if stored.definition.get("webhook") is None:
        raise HookNotFound(
            f"workflow '{stored.workflow_id}' takes no webhooks", hint="give its definition a `webhook` with a `secret`"
        )
    webhook = Webhook.model_validate(stored.definition["webhook"])
    try:
        secret = (await services.secrets.values([webhook.secret], "webhook"))[webhook.secret]
    except MissingSecret as error:
        raise Unavailable(
            "the webhook cannot be verified: its secret is not configured", hint="configure it for the API"
        ) from error
    if not _is_genuine(webhook, secret, headers, body):
        raise InvalidSignature("the webhook is not signed with this workflow's secret, or was signed long ago")
    return webhook


def _is_genuine(webhook: Webhook, secret: str, headers: Headers, body: bytes) -> bool:
    if webhook.scheme == "github":
        return is_signed_as_github(secret, headers.get("x-hub-signature-256", ""), body)
    message_id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    return is_signed(secret, message_id, moment, headers.get("webhook-signature", ""), body, time.time())


def message_id_of(webhook: Webhook, headers: Headers, body: bytes) -> str:
    """Return what tells a message from others."""
    if webhook.scheme == "standard":
        return headers["webhook-id"]
    return headers.get("x-github-delivery") or hashlib.sha256(body).hexdigest()


def input_of(webhook: Webhook, headers: Headers, payload: Any) -> Any:
    """Return the input of the execution that a message starts."""
    if not webhook.headers:
        return payload
    return {"body": payload, "headers": {name: headers[name] for name in webhook.headers if name in headers}}
