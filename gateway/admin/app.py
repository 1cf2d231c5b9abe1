"""Boundary between who watches the gateway (probes, Prometheus) and its state; it dials nobody."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gateway.admin.readiness import Readiness

_TEXT = "text/plain; charset=utf-8"


def create_admin_app(readiness: Readiness, metrics_registry: CollectorRegistry) -> Quart:
    """Make the admin listener's app: `/healthz`, `/readyz` and `/metrics`; anything else is a plain 404."""
    app = Quart("gateway.admin", static_folder=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", content_type=_TEXT)

    @app.get("/readyz")
    async def readyz() -> Response:
        word = readiness.word
        return Response(f"{word}\n", 200 if word == "ready" else 503, content_type=_TEXT)

    @app.get("/metrics")
    async def metrics() -> Response:
        encode, content_type = choose_encoder(", ".join(request.headers.getlist("Accept")))
        return Response(encode(metrics_registry), content_type=content_type)

    @app.errorhandler(HTTPException)
    async def plain(error: HTTPException) -> Response:
        headers = (
            {"Allow": ", ".join(error.valid_methods)}
            if isinstance(error, MethodNotAllowed) and error.valid_methods
            else {}
        )
        return Response(f"{error.code} {error.name}\n", error.code, headers, content_type=_TEXT)

    return app
