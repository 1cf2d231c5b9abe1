"""Boundary to OpenTelemetry: which part of a call took how long, told to whoever the usual OTEL_ variables name.

Nothing is made and nothing of the SDK is imported unless one of them says where traces go. Spans are handed to a thread
with a bounded queue; what does not fit is dropped. No span holds a token, a payload or the name of an object.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.errors import GatewayError
from gateway.telemetry.logs import mask

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

NAME: Final = "kube-mcp-gateway"
FLUSH_SECONDS: Final = 5.0
"""Seconds that the last spans may take to be sent when the process ends."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FINE: Final = frozenset({"ok", "asked"})
_FAILED: Final = 400

_log = structlog.get_logger(__name__)


class Tracing:
    """Makes spans, and sends them."""

    def __init__(self, provider: "TracerProvider", version: str) -> None:
        """Take over the provider: `close` ends it."""
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version)

    def received(self, traceparent: bytes, tracestate: bytes) -> "CallTrace":
        """Return the trace of a request that came with these headers (W3C Trace Context)."""
        carrier = {"traceparent": traceparent.decode("latin-1"), "tracestate": tracestate.decode("latin-1")}
        return CallTrace(self._tracer, carrier)

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waited so long
                loop.call_soon_threadsafe(ended.set)

        # Not the loop's own threads: the process would wait for them, however long a collector takes.
        threading.Thread(target=end, name="traces-end", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            _log.warning("traces_lost", reason="the collector did not take the last ones in time")


class CallTrace:
    """One MCP request's span, begun when its name is known, and dated back to when its caller was."""

    __slots__ = ("_arrived", "_carrier", "_context", "_span", "_tracer")

    def __init__(self, tracer: Tracer, carrier: Mapping[str, str]) -> None:
        """Start now."""
        self._tracer = tracer
        self._carrier = carrier
        self._arrived = time.time_ns()
        self._span: Span | None = None
        self._context: Context | None = None

    def continue_from(self, meta: Mapping[str, Any]) -> None:
        """Take the context that a request's `_meta` may hold; it is nearer to the agent than a header."""
        if isinstance(parent := meta.get("traceparent"), str):
            state = meta.get("tracestate")
            self._carrier = {"traceparent": parent, "tracestate": state if isinstance(state, str) else ""}

    def begin(self, what: str, cluster: str, request_id: str) -> None:
        """Name the span after a tool, or after the method of another request; a second time changes nothing."""
        if self._span is not None:
            return
        method, tool = (what, "") if "/" in what else ("tools/call", what)
        attributes = {"mcp.method.name": method, "k8s.cluster.name": cluster, "request.id": request_id}
        if tool:
            attributes |= {"gen_ai.tool.name": tool, "gen_ai.operation.name": "execute_tool"}
        self._span = self._tracer.start_span(
            f"{method} {tool}".rstrip(),
            context=TraceContextTextMapPropagator().extract(self._carrier),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=self._arrived,
        )
        self._context = set_span_in_context(self._span, Context())

    def end(self, outcome: str) -> None:
        """End it with the word for what came of it."""
        span, self._span = self._span, None
        if span is not None:
            if outcome not in _FINE:
                span.set_attribute("error.type", outcome)
                span.set_status(StatusCode.ERROR)
            span.end()

    def request(self, verb: str, group: str, resource: str, subresource: str, namespace: str) -> "RequestTrace":
        """Begin the span of a Kubernetes request that goes out now."""
        kind = f"{resource}/{subresource}" if subresource else resource
        attributes = {"k8s.verb": verb, "k8s.resource.group": group, "k8s.resource.name": kind}
        if namespace:
            attributes["k8s.namespace.name"] = mask(namespace)
        span = self._tracer.start_span(
            f"{verb} {kind}", context=self._context, kind=SpanKind.CLIENT, attributes=attributes
        )
        return RequestTrace(span)


class RequestTrace:
    """The span of one Kubernetes request; `headers` take it on to the API server."""

    __slots__ = ("_span", "headers")

    def __init__(self, span: Span) -> None:
        """Take over a span that has begun."""
        self._span = span
        self.headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(self.headers, context=set_span_in_context(span, Context()))

    def end(self, status: int, decision: str, size: int) -> None:
        """End it with the HTTP status, or with the word for what was instead of one, and the bytes of the answer."""
        if status:
            self._span.set_attribute("http.response.status_code", status)
            self._span.set_attribute("http.response.body.size", size)
        if not status or status >= _FAILED:
            self._span.set_attribute("error.type", str(status) if status else decision)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def tracing_from(environment: Mapping[str, str], version: str) -> Tracing | None:
    """Return what makes spans, where the environment says that they are wanted and where to; else None.

    Raises:
        GatewayError: They are wanted, and can't be sent.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none"
    if is_off or not any(environment.get(name) for name in _ENDPOINTS):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if exporter != "otlp" or protocol != "http/protobuf":
        raise GatewayError(
            f"traces go out as OTLP over HTTP only: leave out OTEL_TRACES_EXPORTER={exporter} and "
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}, or set them to otlp and http/protobuf"
        )
    try:
        # Only who wants traces needs, and waits for, all of this.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ImportError as error:
        raise GatewayError("traces need more packages: pip install 'kube-mcp-gateway[tracing]'") from error
    return tracing_to(OTLPSpanExporter(), version)


def tracing_to(exporter: "SpanExporter", version: str) -> Tracing:
    """Return what makes spans for this exporter; sampling, limits and the queue are as the OTEL_ variables say."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # see `tracing_from`
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    about = {"service.version": version}
    resource = Resource.create(about)
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, version)
