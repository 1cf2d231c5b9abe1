"""Boundary between the process' state and what is shown of it: numbers for Prometheus, read when they are scraped."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from platform import python_version

from gateway import __version__
from gateway.access.sealing import SealingKeys
from gateway.access.session import Access
from gateway.clusters.registry import ClusterRegistry
from gateway.telemetry.audit import AuditTrail
from gateway.telemetry.metrics import Reading

Owner = tuple[str, str, str]
"""Whose a session is: cluster URL, issuer, subject."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at. `sessions` counts the open ones by their owner."""

    access: Access
    registry: ClusterRegistry
    audit: AuditTrail
    sealing_keys: SealingKeys
    sessions: Callable[[], Counter[Owner]]


def readings(watched: Watched) -> Iterator[Reading]:
    """Give every number once."""
    yield from _process(watched)
    yield from _clusters(watched)
    yield from _tokens(watched)
    yield from _discovery(watched)


def _process(watched: Watched) -> Iterator[Reading]:
    access, rates = watched.access, watched.access.rates
    yield Reading("build_info", 1, (__version__, python_version()))
    yield Reading("clusters", len(watched.registry))
    yield Reading("insecure_clusters", sum(cluster.insecure for cluster in watched.registry))
    yield Reading("audit_lost", watched.audit.lost)
    yield Reading("rate_limits_alone", rates is not None and rates.counts_alone)
    yield Reading("sessions", watched.sessions().total())
    yield Reading("watches", access.watches.open)


def _clusters(watched: Watched) -> Iterator[Reading]:
    pool = watched.access.pool
    state = pool.state()
    yield Reading("pool_clients", state.open)
    yield Reading("pool_leases", state.leases)
    yield Reading("pool_draining", state.draining)
    yield Reading("pool_renewals", state.created)
    yield Reading("bytes_in_flight", pool.memory.held)
    yield Reading("answers_held_back", pool.memory.waiting)
    for cluster in state.clusters:
        labels = (cluster.name,)
        yield Reading("breaker_open", cluster.breaker.word != "closed", labels)
        yield Reading("breaker_openings", cluster.breaker.opened, labels)
        yield Reading("gate_inside", cluster.inside, labels)
        yield Reading("gate_waiting", cluster.waiting, labels)
    for listed in watched.registry:
        if (ends := pool.certificate_ends(listed)) is not None:
            yield Reading("api_server_certificate_expires_timestamp_seconds", ends, (listed.name,))


def _tokens(watched: Watched) -> Iterator[Reading]:
    verdicts = watched.access.identity.state()
    yield Reading("identity_verdicts", verdicts.verdicts)
    yield Reading("identity_refusals", verdicts.refusals)
    yield Reading("identity_key_reads", verdicts.key_reads)
    yield Reading("identity_reviews", verdicts.reviews)
    yield Reading("sealing_keys", watched.sealing_keys.count)
    yield Reading("sealing_keys_unusable", not watched.sealing_keys.is_current)


def _discovery(watched: Watched) -> Iterator[Reading]:
    state = watched.access.discovery.state()
    yield Reading("discovery_catalogs", state.distinct)
    for cluster, catalog in state.clusters.items():
        labels = (cluster,)
        yield Reading("discovery_age_seconds", catalog.age_seconds, labels)
        yield Reading("discovery_types", catalog.types, labels)
        yield Reading("discovery_broken", catalog.broken, labels)
    for (cluster, outcome), count in state.fetches.items():
        yield Reading("discovery_fetches", count, (cluster, outcome))
