"""Boundary between the process' state and the admin page: everything it shows, as one JSON value. No token, no payload.

Plain functions of what is watched; what a person should look at is decided here, not in the page.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from gateway import __version__
from gateway.admin.readings import Owner, Watched
from gateway.clusters.options import ClusterOptions
from gateway.clusters.pool import ClusterState
from gateway.discovery.fetch import CatalogState
from gateway.telemetry.recent import Limited, RecentCall

MOST_SESSIONS: Final = 50
_SOON: Final = 14 * 86400.0
"""Seconds before a certificate's end from which it is shown."""
_LONG: Final = 200
"""Characters of a name that are shown; a token's subject may have thousands."""

_UNUSED: Final = "unused"
_REASONS: Final = {
    "connect": "nothing answers at its address",
    "tls": "its certificate could not be verified",
    "timeout": "no answer in time",
    "reset": "the connection broke",
}


def page_state(watched: Watched, word: str, now: float) -> dict[str, Any]:
    """Return what the page shows at this Unix time; `word` is the process' readiness."""
    access = watched.access
    pool, catalogs = access.pool.state(), access.discovery.state()
    in_use = {each.name: each for each in pool.clusters}
    sessions = watched.sessions()
    clusters = [
        _cluster(watched, listed, in_use.get(listed.name), catalogs.clusters.get(listed.name), now)
        for listed in watched.registry
    ]
    return {
        "version": __version__,
        "state": word,
        "now": now,
        "totals": {
            "calls": access.recent.ended,
            "inFlight": pool.leases,
            "sessions": sessions.total(),
            "watches": access.watches.open,
            "auditLost": watched.audit.lost,
            "refused": access.metrics.refused_tokens,
        },
        "clusters": sorted(clusters, key=lambda each: (-each["trouble"], each["state"] == _UNUSED, each["name"])),
        "calls": [_call(each) for each in reversed(access.recent.calls)],
        "sessions": _sessions(sessions, watched),
        "limited": [_limited(each) for each in access.recent.limited_callers()],
    }


def _cluster(
    watched: Watched, listed: ClusterOptions, used: ClusterState | None, catalog: CatalogState | None, now: float
) -> dict[str, Any]:
    ends = watched.access.pool.certificate_ends(listed)
    remarks = ["its certificate is not verified"] if listed.insecure else []
    if catalog is not None and catalog.broken:
        remarks.append(f"{catalog.broken} of its API groups can't be read")
    if ends is not None and ends - now < _SOON:
        remarks.append(f"its certificate ends in {max(0.0, ends - now) / 86400:.0f} days")
    state, trouble = _standing(used)
    latest = watched.access.metrics.latest.get(listed.name)
    shown = {
        "name": listed.name,
        "label": listed.label,
        "server": listed.server,
        "state": state,
        "trouble": max(trouble, 1 if remarks else 0),
        "remarks": remarks,
        "latency": [median(latest), max(latest)] if latest else None,
        "inside": used.inside if used else 0,
        "waiting": used.waiting if used else 0,
        "types": catalog.types if catalog else None,
        "discoveryAge": catalog.age_seconds if catalog else None,
        "error": "",
        "errorAge": None,
        "retryIn": None,
    }
    if used is not None and used.breaker.last_error:
        shown["error"] = _REASONS.get(used.breaker.last_error, used.breaker.last_error)
        shown["errorAge"] = used.breaker.last_error_ago
        shown["retryIn"] = used.breaker.retry_in if used.breaker.word == "open" else None
    return shown


def _standing(used: ClusterState | None) -> tuple[str, int]:
    """Return a word for how a cluster stands, and how much of a trouble that is, from 0 to 3."""
    if used is None:
        return _UNUSED, 0
    match used.breaker.word:
        case "open":
            return "not answering", 3
        case "half-open":
            return "being tried", 3
        case _ if used.breaker.failures:
            return "failing", 2
        case _ if used.waiting:
            return "busy", 1
        case _:
            return "answering", 0


def _call(call: RecentCall) -> dict[str, Any]:
    return {
        "at": call.at,
        "id": call.request_id,
        "who": call.subject[:_LONG],
        "cluster": call.cluster,
        "tool": call.tool,
        "outcome": call.outcome,
        "seconds": call.seconds,
    }


def _sessions(sessions: Mapping[Owner, int], watched: Watched) -> list[dict[str, Any]]:
    most = sorted(sessions.items(), key=lambda each: (-each[1], each[0]))[:MOST_SESSIONS]
    return [
        {"cluster": _name(watched, url), "who": subject[:_LONG], "count": count}
        for (url, _issuer, subject), count in most
    ]


def _name(watched: Watched, url: str) -> str:
    listed = watched.registry.by_url(url)
    return listed.name if listed is not None else url[:_LONG]


def _limited(limited: Limited) -> dict[str, Any]:
    return {
        "who": limited.subject[:_LONG],
        "cluster": limited.cluster,
        "rate": limited.rate,
        "count": limited.count,
        "last": limited.last,
    }
