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
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from gateway.errors import GatewayError
from gateway.telemetry.logs import mask

if TYPE_CHECKING:
    from gateway.telemetry.spans import Spans

FLUSH_SECONDS: Final = 5.0
"""Seconds that the last spans may take to be sent when the process ends."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FINE: Final = frozenset({"ok", "asked"})
_FAILED: Final = 400
_FLAGS: Final = TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID

_log = structlog.get_logger(__name__)


class Tracing:
    """Makes spans, and sends them."""

    def __init__(self, spans: "Spans") -> None:
        """Take over what sends them: `close` ends it."""
        self._spans = spans

    def received(self, traceparent: bytes, tracestate: bytes) -> "CallTrace":
        """Return the trace of a request that came with these headers (W3C Trace Context)."""
        if not traceparent:
            return CallTrace(self._spans, {})
        return CallTrace(self._spans, _carrier(traceparent.decode("latin-1"), tracestate.decode("latin-1")))

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            self._spans.close()
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
    """One MCP request's span, begun when its name is known, and dated back to when its caller was.

    Where the sampler says no, there are no spans of it, and `headers` take the context that it came with past it.
    """

    __slots__ = ("_arrived", "_carrier", "_cluster", "_context", "_parent", "_request_id", "_spans", "_what", "headers")

    def __init__(self, spans: "Spans", carrier: Mapping[str, str]) -> None:
        """Start now."""
        self._spans = spans
        self._carrier = carrier
        self._arrived = time.time_ns()
        self._what = ""
        self._context: SpanContext | None = None
        self.headers: Mapping[str, str] = {}

    def continue_from(self, meta: Mapping[str, Any]) -> None:
        """Take the context that a request's `_meta` may hold; it is nearer to the agent than a header."""
        if isinstance(parent := meta.get("traceparent"), str):
            state = meta.get("tracestate")
            self._carrier = _carrier(parent, state if isinstance(state, str) else "")

    def begin(self, what: str, cluster: str, request_id: str) -> None:
        """Name the span after a tool, or after the method of another request; a second time changes nothing."""
        if self._what:
            return
        self._what, self._cluster, self._request_id = what, cluster, request_id
        self._parent, self._context = self._spans.first(what, self._carrier)
        if self._context is None and self._parent is not None:
            self.headers = _headers(self._parent)

    def end(self, outcome: str) -> None:
        """End it with the word for what came of it."""
        context, self._context = self._context, None
        if context is None:
            return
        method, tool = (self._what, "") if "/" in self._what else ("tools/call", self._what)
        attributes = {"mcp.method.name": method, "k8s.cluster.name": self._cluster, "request.id": self._request_id}
        if tool:
            attributes |= {"gen_ai.tool.name": tool, "gen_ai.operation.name": "execute_tool"}
        if failed := outcome not in _FINE:
            attributes["error.type"] = outcome
        name = f"{method} {tool}".rstrip()
        self._spans.ended(
            name,
            context,
            self._parent,
            kind=SpanKind.SERVER,
            began=self._arrived,
            attributes=attributes,
            failed=failed,
        )

    def request(self, verb: str, group: str, resource: str, subresource: str, namespace: str) -> "RequestTrace | None":
        """Begin the span of a Kubernetes request that goes out now."""
        if self._context is None:
            return None
        return RequestTrace(self._spans, self._context, (verb, group, resource, subresource, namespace))


class RequestTrace:
    """The span of one Kubernetes request; `headers` take it on to the API server."""

    __slots__ = ("_about", "_began", "_context", "_parent", "_spans", "headers")

    def __init__(self, spans: "Spans", parent: SpanContext, about: tuple[str, str, str, str, str]) -> None:
        """Start now, in that span."""
        self._spans = spans
        self._parent = parent
        self._context = spans.child(parent)
        self._about = about
        self._began = time.time_ns()
        self.headers = _headers(self._context)

    def end(self, status: int, decision: str, size: int) -> None:
        """End it with the HTTP status, or with the word for what was instead of one, and the bytes of the answer."""
        verb, group, resource, subresource, namespace = self._about
        kind = f"{resource}/{subresource}" if subresource else resource
        attributes: dict[str, str | int] = {"k8s.verb": verb, "k8s.resource.name": kind}
        if group:
            attributes["k8s.resource.group"] = group
        if namespace:
            attributes["k8s.namespace.name"] = mask(namespace)
        if status:
            attributes |= {"http.response.status_code": status, "http.response.body.size": size}
        if failed := not status or status >= _FAILED:
            attributes["error.type"] = str(status) if status else decision
        self._spans.ended(
            f"{verb} {kind}",
            self._context,
            self._parent,
            kind=SpanKind.CLIENT,
            began=self._began,
            attributes=attributes,
            failed=failed,
        )


def _carrier(traceparent: str, tracestate: str) -> dict[str, str]:
    """Return what a propagator reads."""
    return {"traceparent": traceparent, "tracestate": tracestate} if tracestate else {"traceparent": traceparent}


def _headers(context: SpanContext) -> dict[str, str]:
    """Return the headers that tell an API server of it (W3C Trace Context, 3.2 and 3.3)."""
    trace, span = context.trace_id.to_bytes(16).hex(), context.span_id.to_bytes(8).hex()
    headers = {"traceparent": f"00-{trace}-{span}-{context.trace_flags & _FLAGS:02x}"}
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()
    return headers


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

        from gateway.telemetry.spans import Spans  # noqa: PLC0415
    except ImportError as error:
        raise GatewayError("traces need more packages: pip install 'kube-mcp-gateway[tracing]'") from error
    return Tracing(Spans(OTLPSpanExporter(), version))
