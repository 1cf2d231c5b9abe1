"""Composition root: builds every room from the settings and owns how long it lives."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from gateway import __version__
from gateway.access.continuation import Continuation
from gateway.access.session import Access
from gateway.admin import create_admin_app
from gateway.admin.readiness import Readiness
from gateway.clusters.pool import Pool
from gateway.clusters.registry import ClusterRegistry
from gateway.clusters.trust import TrustStore
from gateway.discovery.fetch import Discovery
from gateway.edge.endpoint import McpEndpoint
from gateway.edge.managers import Managers
from gateway.edge.origins import origins_for
from gateway.identity.verifier import Identity
from gateway.protocol.server import create_server
from gateway.settings import Settings, load_settings
from gateway.telemetry.audit import log_audit
from gateway.telemetry.metrics import Metrics, Reading
from gateway.tools import all_tools

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that whoever runs the app may need."""

    settings: Settings
    readiness: Readiness
    metrics: Metrics
    pool: Pool
    endpoint: McpEndpoint


def create_app(settings: Settings | None = None) -> Quart:
    """Build the ASGI app for the agent port. Dials nobody and opens nothing before it is served.

    Without settings they come from the environment and the file that KUBE_MCP_GATEWAY_CONFIG names.

    Raises:
        SettingsError: They can't be used.
    """
    if settings is None:
        named = os.environ.get("KUBE_MCP_GATEWAY_CONFIG")
        settings = load_settings(Path(named) if named else None, {})
    app = Quart("gateway")
    metrics = Metrics()
    metrics.insecure_clusters(sum(cluster.insecure for cluster in settings.clusters))
    registry = ClusterRegistry(settings.clusters)
    discovery = Discovery(time.monotonic)
    trust = TrustStore(time.monotonic)
    identity: Identity
    pool = Pool(
        trust, time.monotonic, on_retired=(discovery.forget, lambda key: identity.forget(key))
    )
    identity = Identity(registry, pool, settings.identity)
    access = Access(pool, discovery, identity, metrics, log_audit)
    sealing_key = os.urandom(32)
    server = create_server(
        access, all_tools(Continuation(sealing_key)), version=__version__, sealing_keys=[sealing_key]
    )
    managers = Managers.of(server)
    listen = settings.listen
    endpoint = McpEndpoint(
        app.asgi_app,
        identity=identity,
        registry=registry,
        managers=managers,
        origins=origins_for(listen.host, listen.allowed_hosts, listen.allowed_origins),
        metrics=metrics,
    )
    app.asgi_app = endpoint  # type: ignore[method-assign]  # Quart's own way to wrap it
    readiness = Readiness()
    app.extensions["gateway"] = Gateway(settings, readiness, metrics, pool, endpoint)
    metrics.watch_state(lambda: _readings(pool, discovery, identity))

    @app.get("/health")
    async def health() -> tuple[str, int]:
        return "ok\n", 200

    @app.while_serving
    async def serving() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(pool)
            await stack.enter_async_context(managers.run())
            admin = asyncio.create_task(_serve_admin(settings, readiness, metrics), name="admin")
            stack.push_async_callback(_ended, admin)
            readiness.ready = True
            yield
            readiness.ready = False
            await endpoint.close_streams()

    return app


async def _serve_admin(settings: Settings, readiness: Readiness, metrics: Metrics) -> None:
    config = Config()
    config.bind = [f"{settings.admin.host}:{settings.admin.port}"]
    config.include_server_header = False
    config.errorlog = None
    config.graceful_timeout = 1
    # Its end is the end of the app: without a trigger hypercorn would take the process' signals for itself.
    await serve(create_admin_app(readiness, metrics.registry), config, shutdown_trigger=asyncio.Event().wait)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _readings(pool: Pool, discovery: Discovery, identity: Identity) -> Iterator[Reading]:
    state = pool.state()
    yield "pool_clients", "Warm cluster clients.", state.open
    yield "pool_leases", "Calls that hold a cluster client.", state.leases
    yield "pool_draining", "Replaced clients that wait for their last call.", state.draining
    yield "pool_created", "Cluster clients made since the start.", state.created
    yield from _numbers("discovery", discovery.state())
    yield from _numbers("identity", identity.state())


def _numbers(room: str, state: object) -> Iterator[Reading]:
    for name in getattr(type(state), "__slots__", ()):
        value = getattr(state, name)
        if isinstance(value, int | float):
            yield f"{room}_{name}", f"{room.capitalize()}: {name.replace('_', ' ')}.", value
