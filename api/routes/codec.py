"""The codec server of the Temporal Web UI: histories show references to large values, people want the values."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payload

from api.access import CODEC_COOKIE, access_of, token_of
from api.dependencies import Services, ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.schemas.codec import CodecPayloads
from api.schemas.problems import WITH_BODY, problems
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError
from orchestrator.stores.claims import resolved

router = APIRouter(prefix="/codec", tags=["access"], route_class=StrictJsonRoute)

COOKIE_SECONDS = 12 * 3600


@router.post("/decode", operation_id="decode_payloads", summary="Resolve payloads", responses=problems(*WITH_BODY, 503))
async def decode_payloads(
    services: ServicesDep,
    body: CodecPayloads,
    keep: Annotated[bool, Query(alias="preserveStorageRefs", description="leave references to large values")] = False,
) -> CodecPayloads:
    """Return the payloads of a history with large values in the place of their references; others as they came.

    A reference stays where its value is lost, or where 16 MiB were resolved before it. The Web UI asks to leave them
    all, and downloads those that people want to see.
    """
    return await _resolved(services, body, keep=keep)


@router.post(
    "/download",
    operation_id="download_payloads",
    summary="Fetch large values",
    responses=problems(*WITH_BODY, 503),
)
async def download_payloads(services: ServicesDep, body: CodecPayloads) -> CodecPayloads:
    """Return the payloads with large values in the place of their references: what the Web UI asks for one by one."""
    return await _resolved(services, body, keep=False)


async def _resolved(services: Services, body: CodecPayloads, *, keep: bool) -> CodecPayloads:
    payloads = [_payload(value, index) for index, value in enumerate(body.payloads)]
    found = await resolved(services.temporal.data_converter, payloads, keep=keep)
    return CodecPayloads(payloads=[MessageToDict(payload) for payload in found])


@router.post(
    "/session",
    operation_id="open_codec_session",
    summary="Let this browser's Web UI resolve payloads",
    status_code=204,
    responses=problems(503),
)
async def open_codec_session(request: Request, response: Response) -> None:
    """Keep the key of this request in a cookie for 12 hours that only `/codec` is sent, and no script can read.

    Pages of the Temporal Web UI then resolve payloads with the setting "include cross-origin credentials".
    """
    if access_of(request).key is None:
        return
    secure = request.url.scheme == "https"
    response.set_cookie(
        CODEC_COOKIE,
        token_of(request),
        max_age=COOKIE_SECONDS,
        path=f"{PREFIX}/codec",
        secure=secure,
        httponly=True,
        samesite="none" if secure else "strict",
    )


def _payload(value: dict[str, Any], index: int) -> Payload:
    try:
        return ParseDict(value, Payload(), ignore_unknown_fields=True)
    except (ParseError, ValueError) as error:
        message = f"payload {index} is none in protobuf's JSON: {error}"
        raise RequestError(message, issues=[Issue("invalid-value", message, f"/payloads/{index}")]) from error
