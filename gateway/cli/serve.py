"""Boundary between the gateway as an app and the process that serves it: sockets, signals, event loop, exit."""

import asyncio
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn

import structlog
from hypercorn.asyncio import serve
from hypercorn.utils import LifespanFailureError
from quart import Quart

from gateway.admin import bind, url_of
from gateway.app import Gateway, create_app
from gateway.cli.connection import CLOSING, ListenerConfig, install
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.settings.origin import Origin
from gateway.telemetry.logs import configure_logging

_log = structlog.get_logger(__name__)


def run(file: Path | None, overrides: Mapping[str, Any]) -> None:
    """Serve until a signal.

    Raises:
        SettingsError: The settings have mistakes.
        GatewayError: The gateway can't start; the text says why.
    """
    origin = Origin(file, overrides)
    settings = origin.load()
    configure_logging(settings.log, sys.stderr)
    for cluster in settings.clusters:
        if cluster.insecure:
            _log.warning(
                "insecure_cluster",
                cluster=cluster.name,
                server=cluster.server,
                risk="its certificate is not verified: whoever is in between reads every token",
            )
    sock = bind(settings.listen.host, settings.listen.port, otherwise="choose another with --port")
    app = create_app(settings, origin=origin)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_app(app, settings, sock))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: uvloop's where it is installed, else None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  # there only where it could be installed
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve_app(
    app: Quart, settings: Settings, sock: socket.socket, *, visit: Callable[[str], Awaitable[None]] | None = None
) -> None:
    """Serve on this socket until a signal, or until `visit`, called with the endpoint's URL, is done.

    Raises:
        GatewayError: The gateway can't start, or `visit` raised it; the text says why.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled)
    gateway: Gateway = app.extensions["gateway"]
    end = asyncio.Event()
    failures: list[GatewayError] = []

    def on_signal(number: signal.Signals) -> None:
        if end.is_set():
            _end_now()
        gateway.readiness.draining = True
        end.set()
        _log.info("draining", signal=number.name, seconds=settings.listen.drain_seconds)
        # hypercorn's own limits end this earlier, but for a loop whose closed server waits for its last connection.
        loop.call_later(delay + settings.listen.drain_seconds + CLOSING, _end_now)

    delay = settings.listen.drain_delay_seconds
    url = f"{url_of(sock, scheme='https' if settings.listen.tls else 'http')}/mcp"

    async def until_told() -> None:
        # hypercorn asks once everything is open. What was made so far stays, so collections may leave it alone; nor is
        # there one before: next to nothing of it is garbage, and to find that out takes a tenth of a second.
        gc.freeze()
        gc.enable()
        _log.info(
            "serving",
            url=url,
            clusters=len(settings.clusters),
            admin=app.extensions["admin_url"],
        )
        try:
            await _first_of(end.wait(), visit(url) if visit else None)
        except GatewayError as error:
            # Raised from here it would come out in the groups of hypercorn's tasks.
            failures.append(error)
        # Whoever asks /readyz or watches the endpoints of a service needs this long to send nobody here any more.
        await config.send_clients_elsewhere()
        await asyncio.sleep(delay if gateway.readiness.draining else 0)
        # Clients hold these open for whatever may come; waiting for them would use up the time that calls may take.
        await gateway.endpoint.close_streams()

    config = ListenerConfig(settings.listen, gateway.certificate.context if gateway.certificate else None)
    config.bind = [f"fd://{sock.detach()}"]  # which hypercorn closes
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload.ask)
    install()
    try:
        await serve(app, config, shutdown_trigger=until_told)
    except LifespanFailureError as error:
        raise GatewayError(str(error).removeprefix("Lifespan failure in startup. ").strip("'")) from error
    if failures:
        raise failures[0]
    _log.info("ended")


async def _first_of(told: Coroutine[Any, Any, object], visit: Awaitable[None] | None) -> None:
    """Wait until one of the two is done, end the other, and pass on what the visit raised."""
    tasks = [asyncio.ensure_future(awaited) for awaited in (told, visit) if awaited is not None]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


def _end_now() -> NoReturn:
    # Not by cancelling: libraries may take that as a reason to wait for what is still in flight.
    _log.warning("ended_early", reason="calls were still in flight")
    os._exit(0)


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Handshakes that fail and callers that go away are the network's daily life.
    if not isinstance(context.get("exception"), ssl.SSLError | ConnectionError):
        loop.default_exception_handler(context)
