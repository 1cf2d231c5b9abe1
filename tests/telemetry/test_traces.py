import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.app import create_app
from gateway.demo import EmbeddedCluster
from gateway.errors import GatewayError
from gateway.telemetry.traces import tracing_from
from tests.test_app import settings
from tests.workbench import listed

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = "0af7651916cd43dd8448eb211c80319c"


@dataclass(slots=True)
class Collector:
    """A stand-in for an OpenTelemetry collector: takes OTLP over HTTP, as protobuf."""

    url: str
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200

    def take(self, body: bytes) -> None:
        """Decode one export."""
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> Span:
        """Return the one span of this name."""
        [found] = [span for span in self.spans if span.name == name]
        return found


def attributes(span: Span) -> dict[str, Any]:
    """Return a span's attributes as plain values."""
    values = ((each.key, each.value) for each in span.attributes)
    return {key: getattr(value, value.WhichOneof("value") or "") for key, value in values}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Listen as a collector does."""
    found = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            if found.status == 200:
                found.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def wanted(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Have traces sent to the collector, as an operator does."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    return collector


async def called(cluster: EmbeddedCluster, *, meta: dict[str, Any] | None = None, **headers: str) -> tuple[str, str]:
    """Call a tool through a gateway that ends afterwards; return its answer and its request id."""
    app = create_app(settings(listed(cluster)))
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "resource_get", "arguments": {"resource": "ns", "name": "demo"}, "_meta": meta or {}},
    }
    about = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {await cluster.token()}"}
    async with app.test_app() as running:
        response = await running.test_client().post("/mcp", json=body, headers=about | headers)
        answer = json.loads(await response.get_data())
        return answer["result"]["content"][0]["text"], response.headers["x-request-id"]


async def test_a_trace_goes_from_the_client_to_the_api_server(cluster: EmbeddedCluster, wanted: Collector) -> None:
    """The call is a child of the client's span, the API request of the call, and the API server is told that one."""
    _, request_id = await called(cluster, traceparent=PARENT, tracestate="vendor=1", baggage="secret=1")
    call, request = wanted.named("tools/call resource_get"), wanted.named("get namespaces")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert (call.kind, request.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert (request.trace_id.hex(), request.parent_span_id) == (TRACE, call.span_id)
    assert call.start_time_unix_nano <= request.start_time_unix_nano < request.end_time_unix_nano
    assert request.end_time_unix_nano <= call.end_time_unix_nano
    assert attributes(call) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "resource_get",
        "gen_ai.operation.name": "execute_tool",
        "k8s.cluster.name": "east",
        "request.id": request_id,
    }
    shown = attributes(request)
    assert shown.pop("http.response.body.size") > 100
    assert shown == {
        "k8s.verb": "get",
        "k8s.resource.name": "namespaces",
        "k8s.namespace.name": "demo",
        "http.response.status_code": 200,
    }
    assert wanted.services == {"kube-mcp-gateway"}
    [seen] = [seen for seen in cluster.requests if seen.path == "/api/v1/namespaces/demo"]
    assert seen.context == {
        "traceparent": f"00-{TRACE}-{request.span_id.hex()}-01",
        "tracestate": "vendor=1",
    }


async def test_the_message_s_own_context_comes_first(cluster: EmbeddedCluster, wanted: Collector) -> None:
    """What the agent put into `_meta` is nearer to it than a header that something in between may have set."""
    await called(cluster, meta={"traceparent": f"00-{OTHER}-00f067aa0ba902b7-01"}, traceparent=PARENT)
    assert wanted.named("tools/call resource_get").trace_id.hex() == OTHER


@pytest.mark.parametrize(
    ("came", "goes_on"),
    [
        ({}, {}),
        ({"traceparent": PARENT, "tracestate": "vendor=1"}, {"traceparent": PARENT, "tracestate": "vendor=1"}),
        ({"traceparent": f"{PARENT}\n", "tracestate": "a=1\r\nb: 2"}, {"traceparent": PARENT}),
        ({"traceparent": "00-zz"}, {}),
    ],
)
async def test_a_call_that_is_not_sampled_is_passed_by(
    cluster: EmbeddedCluster,
    wanted: Collector,
    monkeypatch: pytest.MonkeyPatch,
    came: dict[str, str],
    goes_on: dict[str, str],
) -> None:
    """It has no span, and the API server gets the client's context, read and written anew, or none."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    await called(cluster, meta=came)
    [seen] = [seen for seen in cluster.requests if seen.path == "/api/v1/namespaces/demo"]
    assert seen.context == goes_on
    assert wanted.spans == []


async def test_the_sampler_is_the_operator_s(
    cluster: EmbeddedCluster, wanted: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a parent-based one it is the client that says whether its call is traced."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    await called(cluster, meta={"traceparent": f"00-{OTHER}-00f067aa0ba902b7-00"})
    await called(cluster, meta={"traceparent": PARENT})
    assert {span.trace_id.hex() for span in wanted.spans} == {TRACE}


@pytest.mark.parametrize("odd", ["", "00-zz", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 10_000, "00-\xff"])
async def test_an_odd_context_begins_a_trace_of_its_own(cluster: EmbeddedCluster, wanted: Collector, odd: str) -> None:
    """Whatever a client sends there, the call is served and traced."""
    text, _ = await called(cluster, meta={"traceparent": odd, "tracestate": 7})
    assert text.startswith("cluster east")
    assert not wanted.named("tools/call resource_get").parent_span_id


async def test_a_failure_shows_and_no_secret_does(cluster: EmbeddedCluster, wanted: Collector) -> None:
    """Both spans say what went wrong; neither holds the token nor what was asked by name."""
    token = await cluster.token()
    app = create_app(settings(listed(cluster)))
    arguments = {"resource": "deployments", "name": "no-such-app", "namespace": token[:63]}
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "resource_get", "arguments": arguments},
    }
    about = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {token}"}
    async with app.test_app() as running:
        await running.test_client().post("/mcp", json=body, headers=about)
    call, request = wanted.named("tools/call resource_get"), wanted.named("get deployments")
    assert attributes(call)["error.type"] == "not_found"
    assert attributes(request)["error.type"] == "404"
    assert attributes(request)["k8s.namespace.name"] == "[masked]"
    assert attributes(request)["k8s.resource.group"] == "apps"
    assert call.status.code == request.status.code == 2
    for body_sent in wanted.bodies:
        assert b"no-such-app" not in body_sent
        assert not any(part.encode() in body_sent for part in token.split("."))


@pytest.mark.slow
async def test_a_collector_that_is_down_holds_nobody_up(
    cluster: EmbeddedCluster, wanted: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls are answered, and the process ends in time."""
    wanted.status = 503
    async with asyncio.timeout(20):
        text, _ = await called(cluster)
    assert text.startswith("cluster east")
    assert "traces_lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_they_are_off_unless_wanted(environment: dict[str, str]) -> None:
    """The usual variables decide, and nothing else."""
    assert tracing_from(environment, "1") is None


@pytest.mark.parametrize("more", [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_TRACES_EXPORTER": "zipkin"}])
def test_what_can_t_be_sent_keeps_the_gateway_from_starting(more: dict[str, str]) -> None:
    """Traces that somebody waits for must not be missing silently."""
    with pytest.raises(GatewayError, match="OTLP over HTTP only"):
        tracing_from({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} | more, "1")


def test_nothing_of_the_sdk_is_imported_unless_wanted() -> None:
    """It would cost every start a third of a second and some megabytes."""
    program = "import sys, gateway.app; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert done.stdout.strip() == "[]"


async def test_what_goes_on_for_hours_is_no_span(cluster: EmbeddedCluster, wanted: Collector) -> None:
    """A subscription leaves neither a span that never ends nor children without their parent."""
    app = create_app(settings(listed(cluster)))
    uri = "k8s://clustered/core/v1/namespaces/demo"
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
    }
    parameters = {"notifications": {"resourceSubscriptions": [uri]}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": parameters}
    about = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {await cluster.token()}",
        "MCP-Protocol-Version": "2026-07-28",
        "MCP-Method": "subscriptions/listen",
    }
    async with app.test_app() as running:
        serving = asyncio.create_task(running.test_client().post("/mcp", json=body, headers=about))
        async with asyncio.timeout(20):
            while not any("watch=" in seen.query for seen in cluster.requests):  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(0.02)
            await app.extensions["gateway"].endpoint.close_streams()
            await serving
    assert wanted.spans == []
