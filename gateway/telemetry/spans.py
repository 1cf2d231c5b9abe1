"""Boundary to the OpenTelemetry SDK: it says which calls are traced, and queues, encodes and sends their spans.

They are handed over whole when they have ended: a span that the SDK begins may be changed by any thread while it lasts,
and its locks, limits and copies cost half a call's time.
"""

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NAME: Final = "kube-mcp-gateway"

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NOTHING: Final = Context()
_FINE: Final = Status()
_FAILED: Final = Status(StatusCode.ERROR)


class Spans:
    """Begins spans and sends them; sampler, resource, queue and exporter are as the OTEL_ variables say."""

    def __init__(self, exporter: SpanExporter, version: str) -> None:
        """Send what ends to this exporter, until `close`."""
        resource = Resource.create({"service.version": version})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": NAME}))
        self._resource = _Hashed(resource.attributes, resource.schema_url)
        self._scope = InstrumentationScope(NAME, version)
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sampler, self._ids = provider.sampler, provider.id_generator
        self._processor = BatchSpanProcessor(exporter)

    def first(self, name: str, carrier: Mapping[str, str]) -> tuple[SpanContext | None, SpanContext | None]:
        """Return the context that a request came with (W3C Trace Context), and that of its own span, if it gets one."""
        around, parent = _NOTHING, None
        if carrier:
            around = _PROPAGATOR.extract(carrier)
            came = get_current_span(around).get_span_context()
            parent = came if came.is_valid else None
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        said = self._sampler.should_sample(around, trace_id, name, SpanKind.SERVER)
        if said.decision is not Decision.RECORD_AND_SAMPLE:
            return parent, None
        random = TraceFlags.RANDOM_TRACE_ID if parent is None else parent.trace_flags & TraceFlags.RANDOM_TRACE_ID
        flags = TraceFlags(TraceFlags.SAMPLED | random)
        span_id = self._ids.generate_span_id()
        return parent, SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=said.trace_state)

    def child(self, parent: SpanContext) -> SpanContext:
        """Return the context of a span in that one."""
        return SpanContext(
            parent.trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags,
            trace_state=parent.trace_state,
        )

    def ended(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        began: int,
        attributes: Mapping[str, str | int],
        failed: bool,
    ) -> None:
        """Take a span that began at this `time.time_ns` and ends now."""
        self._processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._resource,
                attributes,
                kind=kind,
                status=_FAILED if failed else _FINE,
                start_time=began,
                end_time=time.time_ns(),
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Hashed(Resource):
    """A resource that is hashed as the one that it is: the SDK's writes itself as JSON for that, at each span sent."""

    __hash__ = object.__hash__
