"""Composition root: builds every room from the settings and owns how long it lives."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from quart import Quart

from gateway import __version__
from gateway.access.confirmation import Confirmation
from gateway.access.continuation import Continuation
from gateway.access.plans import Plans, UsedInMemory
from gateway.access.sealing import MountedKeys, SealingKeys
from gateway.access.session import Access
from gateway.admin import Readiness, Watched, admin_listener, create_admin_app, readings
from gateway.clusters.pool import Pool
from gateway.clusters.rates import RateLimits
from gateway.clusters.registry import ClusterRegistry
from gateway.clusters.trust import TrustStore
from gateway.discovery.fetch import Discovery
from gateway.edge.certificate import ServerCertificate
from gateway.edge.endpoint import McpEndpoint
from gateway.edge.managers import Managers
from gateway.edge.metadata import serve_metadata
from gateway.edge.origins import origins_for
from gateway.edge.sources import Sources
from gateway.errors import GatewayError
from gateway.identity.attempts import Attempts
from gateway.identity.verifier import Identity
from gateway.kube.holding import Memory
from gateway.protocol.calls import Calls
from gateway.protocol.elicitation import LAPSES_AFTER
from gateway.protocol.server import create_server
from gateway.redaction.text import prepare
from gateway.reload import Reload
from gateway.settings import Settings
from gateway.settings.origin import Origin
from gateway.telemetry.audit import AuditTrail
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.traces import tracing_from
from gateway.tools import all_tools

if TYPE_CHECKING:
    from gateway.clusters.shared import SharedWindows, UsedInStore

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that whoever runs the app may need."""

    settings: Settings
    readiness: Readiness
    metrics: Metrics
    pool: Pool
    endpoint: McpEndpoint
    certificate: ServerCertificate | None
    reload: Reload


def create_app(
    settings: Settings | None = None, *, origin: Origin | None = None, lapses_after: float = LAPSES_AFTER
) -> Quart:
    """Build the ASGI app for the agent port. Dials nobody and opens nothing before it is served.

    Without settings they come from the environment and the file that KUBE_MCP_GATEWAY_CONFIG names. `origin` is where
    the settings came from: clusters that change there are taken up. A question to the person lapses after so many
    seconds.

    Raises:
        SettingsError: They can't be used.
    """
    if settings is None:
        origin = _environment()
        settings = origin.load()
    app = Quart("gateway")
    metrics = Metrics()
    registry = ClusterRegistry(settings.clusters)
    discovery = Discovery(time.monotonic)
    # Identity uses the pool, and the pool tells identity which cluster keys ended.
    pool = Pool(TrustStore(time.monotonic), time.monotonic, memory=Memory(settings.bytes_in_flight))
    attempts = Attempts(time.monotonic, settings.listen.failed_authentications_per_minute)
    identity = Identity(registry, pool, settings, attempts)
    pool.when_retired(discovery.forget, identity.forget)
    windows, used_plans = _shared(settings.shared_store)
    rates = RateLimits(windows) if settings.rate_limiting else None
    audit, tracing = AuditTrail(settings.audit), tracing_from(os.environ, __version__)
    access = Access(pool, discovery, identity, metrics, audit, rates)
    sealing_keys = _sealing_keys(settings)
    confirmation = Confirmation(Plans(sealing_keys, used_plans or UsedInMemory(time.monotonic), time.time))
    calls = Calls(access, all_tools(Continuation(sealing_keys), confirmation), lapses_after=lapses_after)
    server = create_server(
        access,
        calls,
        version=__version__,
        sealing_keys=sealing_keys,
        lapses_after=lapses_after,
        serve_resources=settings.serve_resources,
    )
    managers, listen = Managers.of(server), settings.listen
    endpoint = McpEndpoint(
        app.asgi_app,
        identity=identity,
        registry=registry,
        managers=managers,
        calls=calls,
        origins=origins_for(listen.host, listen.allowed_hosts, listen.allowed_origins),
        sources=Sources(listen.trusted_proxies),
        metrics=metrics,
        resource=serve_metadata(app, listen.protected_resource),
        audit=audit,
        tracing=tracing,
    )
    app.asgi_app = endpoint  # type: ignore[assignment,method-assign]  # Quart's own way to wrap it
    readiness = Readiness()
    certificate = ServerCertificate(listen.tls) if listen.tls else None
    if certificate:
        metrics.watch_state(certificate.readings)
    reload = Reload(origin or Origin(), settings, registry, pool)
    app.extensions["gateway"] = Gateway(settings, readiness, metrics, pool, endpoint, certificate, reload)
    watched = Watched(access, registry, audit, sealing_keys, managers.owners)
    metrics.watch_state(reload.readings, partial(readings, watched))

    @app.get("/health")
    async def health() -> tuple[str, int]:
        return "ok\n", 200

    @app.while_serving
    async def serving() -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            # First in, so that it can be asked to the very end, and a port in use is not told as a task group's error.
            admin = admin_listener(
                create_admin_app(readiness, metrics.registry, watched, settings.admin), settings.admin
            )
            app.extensions["admin_url"] = await stack.enter_async_context(admin)
            stack.enter_context(audit)
            if certificate:
                await stack.enter_async_context(certificate.watching())
            await stack.enter_async_context(pool)
            # The first answer would wait a quarter of a second for the rules to be imported.
            stack.push_async_callback(asyncio.wait, {asyncio.create_task(asyncio.to_thread(prepare))})
            outside = [each.close for each in (tracing, windows, used_plans) if each is not None]
            for close in (*outside, identity.close, discovery.close):
                stack.push_async_callback(close)
            await stack.enter_async_context(managers.run())
            if origin is not None:
                await stack.enter_async_context(reload.watching())
            readiness.ready = True
            yield
            readiness.ready = False
            await endpoint.close_streams()

    return app


def _environment() -> Origin:
    named = os.environ.get("KUBE_MCP_GATEWAY_CONFIG")
    return Origin(Path(named) if named else None)


def _shared(url: str | None) -> "tuple[SharedWindows | None, UsedInStore | None]":
    """Return what is kept in the store that replicas share, where one is configured."""
    if url is None:
        return None, None
    try:
        # Only who shares a store needs its client.
        from gateway.clusters.shared import SharedWindows, UsedInStore  # noqa: PLC0415
    except ImportError as error:
        raise GatewayError("sharedStore needs more packages: pip install 'kube-mcp-gateway[shared]'") from error
    return SharedWindows(url), UsedInStore(url)


def _sealing_keys(settings: Settings) -> SealingKeys:
    """Return the mounted ring, or one of this process alone.

    Raises:
        GatewayError: The file can't be used.
    """
    if settings.sealing_keys is not None:
        return MountedKeys(settings.sealing_keys, time.monotonic)
    if settings.shared_store is not None:
        _log.warning("sealing_keys_not_shared", risk="no replica opens what another sealed: set sealingKeys")
    return SealingKeys()
