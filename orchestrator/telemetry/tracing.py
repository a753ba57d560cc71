"""Traces: one from the API's request over Temporal to each activity, sent by OTLP where that is configured."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider

from orchestrator.settings import Settings

TRACES_PATH = "/v1/traces"
PATIENCE_SECONDS = 2.0


def send_traces(settings: Settings, process: str) -> None:
    """Send this process's spans to `settings.otel_exporter_otlp_endpoint`, in batches and in the background.

    Sampling, headers and further attributes are OpenTelemetry's own variables: `OTEL_TRACES_SAMPLER`,
    `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return
    # Costly to import, and needed where traces are sent alone.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {"deployment.environment.name": settings.environment}
    if "OTEL_SERVICE_NAME" not in os.environ:
        attributes[SERVICE_NAME] = f"orchestrator-{process}"
    provider = create_tracer_provider(resource=Resource.create(attributes))
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + TRACES_PATH
    # A process that ends sends what is left, and waits so long for a collector that is away.
    patience = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else PATIENCE_SECONDS
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=patience)))
    trace.set_tracer_provider(provider)


def temporal_plugins(settings: Settings) -> list[Any]:
    """Return what carries traces through Temporal; nothing where no traces are sent: headers cost history."""
    return [OpenTelemetryPlugin(add_temporal_spans=True)] if settings.otel_exporter_otlp_endpoint else []
