"""Boundary between who watches the gateway (probes, Prometheus, a person) and its state; it dials nobody."""

import time
from importlib.resources import files
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gateway.admin.live import Live
from gateway.admin.options import AdminOptions
from gateway.admin.readiness import Readiness
from gateway.admin.readings import Watched
from gateway.admin.state import page_state

LIVE: Final = "live"
"""The key of the app's extensions under which stands what has to be closed before it ends."""
_TEXT = "text/plain; charset=utf-8"
_PAGE: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_GUARDED: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_admin_app(
    readiness: Readiness,
    metrics_registry: CollectorRegistry,
    watched: Watched | None = None,
    options: AdminOptions | None = None,
) -> Quart:
    """Make the admin listener's app: `/healthz`, `/readyz`, `/metrics`, and where something is watched the page.

    The page is given only under loopback's names and `options.allowed_hosts`, without their port. Else it is plain 404.
    """
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

    options = options or AdminOptions()
    if watched is not None and options.has_page:
        live = Live(lambda: page_state(watched, readiness.word, time.time()))
        app.extensions[LIVE] = live
        _add_page(app, live, _LOOPBACK | {host.lower() for host in options.allowed_hosts})

    @app.errorhandler(HTTPException)
    async def plain(error: HTTPException) -> Response:
        headers = (
            {"Allow": ", ".join(error.valid_methods)}
            if isinstance(error, MethodNotAllowed) and error.valid_methods
            else {}
        )
        return Response(f"{error.code} {error.name}\n", error.code, headers, content_type=_TEXT)

    return app


def _add_page(app: Quart, live: Live, hosts: frozenset[str]) -> None:
    folder = files("gateway.admin") / "page"
    contents = {path: ((folder / name).read_bytes(), media) for path, (name, media) in _PAGE.items()}

    def refusal() -> Response | None:
        # A web page elsewhere could have its own name resolve to this address, and read what has no login.
        if _without_port(request.host) in hosts:
            return None
        return Response("This Host is not served here: see admin.allowedHosts.\n", 403, content_type=_TEXT)

    async def file() -> Response:
        body, media = contents[request.path]
        return refusal() or Response(body, headers=_GUARDED, content_type=media)

    for path in contents:
        app.add_url_rule(path, path, file, methods=["GET"])

    @app.get("/events")
    async def events() -> Response:
        if refused := refusal():
            return refused
        if live.is_full:
            return Response("As many as may are watching already.\n", 503, {"Retry-After": "60"}, content_type=_TEXT)
        response = Response(live.events(), headers=_GUARDED, content_type="text/event-stream")
        response.timeout = None  # the stream has its own end
        return response


def _without_port(host: str) -> str:
    """Return a Host header's name in small letters."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host.lower()
