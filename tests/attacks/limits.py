"""Every limit on what comes from outside, read from the code, and the table of them in docs/security.md.

`python -m tests.attacks.limits` writes the table between its markers; a test holds that it is current.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp.server.lowlevel import Server

from gateway.access import plans, sealing, session, watches
from gateway.cli import connection
from gateway.clusters import pool, system, urls
from gateway.clusters.options import LimitOptions
from gateway.discovery import documents, resolve
from gateway.edge import endpoint, managers, parting
from gateway.edge.bearer import MAX_TOKEN
from gateway.edge.options import ListenOptions
from gateway.identity import attempts, claims, keys, lanes, verifier
from gateway.kube import holding, paths, uris, watch
from gateway.protocol import subscriptions
from gateway.telemetry import logs as logging
from gateway.tools import logs, resource_list, running, yaml_values

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN: Final = "<!-- limits: begin, written by `make docs` -->"
END: Final = "<!-- limits: end -->"


@dataclass(frozen=True, slots=True)
class Limit:
    """What is limited, to how much, and what somebody meets who goes beyond."""

    what: str
    value: str
    beyond: str


def size(count: int) -> str:
    """Show bytes as people do."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit:,} {name}"
    return f"{count:,} bytes"


def limits() -> tuple[Limit, ...]:
    """Return them as they are now, in the order in which a request meets them."""
    http, per_cluster = connection.ListenerConfig(ListenOptions()), LimitOptions()
    room = managers.Managers.of(Server("any")).asking.max_sessions
    return (
        Limit("all headers of a request together", size(http.h11_max_incomplete_size), "HTTP 400 or 431, and closed"),
        Limit("a TLS handshake", f"{http.ssl_handshake_timeout:g} s", "closed"),
        Limit("a connection without a request", f"{http.keep_alive_timeout:g} s", "closed"),
        Limit("streams of one HTTP/2 connection", f"{http.h2_max_concurrent_streams}", "refused by HTTP/2"),
        Limit("a client that takes nothing of its answer", f"{connection.STALLED:g} s", "closed"),
        Limit("a Bearer token", size(MAX_TOKEN), "HTTP 401"),
        Limit("nesting of a token's JSON", f"{claims._MAX_DEPTH} levels", "HTTP 401"),  # noqa: SLF001
        Limit("digits of a number in a token", f"{claims._MAX_DIGITS}", "HTTP 401"),  # noqa: SLF001
        Limit("issuer, subject, key id, each audience", f"{claims._MAX_TEXT:,} characters", "HTTP 401"),  # noqa: SLF001
        Limit("an API server's URL in a token", f"{urls.MAX_URL:,} characters", "HTTP 401"),
        Limit(
            "refused tokens of one source in a minute",
            f"{ListenOptions().failed_authentications_per_minute}, settable",
            "HTTP 429 with Retry-After; tokens with a live verdict are served",
        ),
        Limit("sources that are remembered", f"{attempts.MOST_SOURCES:,}", "the longest quiet is forgotten"),
        Limit(
            "reviews of unverified tokens on one cluster",
            f"{pool.VERIFICATION_WIDTH} at once, {pool.VERIFICATION_QUEUE} waiting",
            "HTTP 503 with Retry-After",
        ),
        Limit(
            "the same for one source",
            f"{lanes.SHARE} at once, {lanes.SHARE_QUEUE} waiting",
            "HTTP 503 with Retry-After",
        ),
        Limit("readings of one cluster's keys at once", f"{pool.KEY_READS}", "sources take turns"),
        Limit("time until keys are read again for an unknown key id", f"{keys.KEYS_REST:g} s", "the cluster is asked"),
        Limit("keys of a key set that are looked at", f"{keys._MAX_KEYS}", "the rest is ignored"),  # noqa: SLF001
        Limit("verifying one token", f"{verifier._DEADLINE:g} s", "HTTP 503 with Retry-After"),  # noqa: SLF001
        Limit(
            "verdicts and refusals that are remembered",
            f"{verifier._MAX_VERDICTS:,} and {verifier._MAX_REFUSALS:,}",  # noqa: SLF001
            "the least used is forgotten",
        ),
        Limit("a refused request's body", size(parting._MOST), "closed"),  # noqa: SLF001
        Limit("a request's body", size(endpoint.MAX_BODY), "HTTP 413"),
        Limit("its arrival", f"{endpoint.BODY_SECONDS:g} s", "HTTP 408"),
        Limit("nesting of a request's JSON", "1,024 levels at most", "HTTP 400, JSON-RPC error -32700"),
        Limit("sessions of one caller on one cluster", f"{managers.MOST_SESSIONS} of each kind", "served without one"),
        Limit("sessions in all", f"{room:,} of each kind", "served without one"),
        Limit("a session that nobody uses", f"{managers.IDLE_SECONDS / 60:g} min", "ended"),
        Limit(
            "calls of one caller on one cluster in a minute",
            f"{per_cluster.reads_per_minute} reads, {per_cluster.writes_per_minute} writes, "
            f"{per_cluster.others_per_minute} others, settable",
            "a tool error that says when",
        ),
        Limit("subscriptions of one caller on one cluster", f"{subscriptions.PER_CALLER}", "a JSON-RPC error"),
        Limit(
            "watches",
            f"{watches.PER_CALLER} of one caller, {watches.PER_CLUSTER} of one cluster",
            "a tool error that says what to end",
        ),
        Limit("a plan", f"{plans._LONGEST} characters, {plans.LIFETIME // 60} min", "a tool error"),  # noqa: SLF001
        Limit("a name of a kind", f"{resolve.MAX_TYPED} characters", "unknown kind"),
        Limit("a segment of a path", f"{paths.MAX_SEGMENT} bytes", "a tool error; nothing is sent"),
        Limit("a resource's URI", f"{uris.MAX_URI:,} characters", "a JSON-RPC error"),
        Limit(
            "a manifest",
            f"{size(yaml_values.MAX_BYTES)}, {yaml_values.MAX_DOCUMENTS} documents, {yaml_values.MAX_VALUES:,} values, "
            f"{yaml_values.MAX_DEPTH} levels",
            "a tool error that says which",
        ),
        Limit("a command in a pod", f"{running.MOST_SECONDS:g} s", "ended, and said"),
        Limit("its words", size(running._LONGEST), "a tool error"),  # noqa: SLF001
        Limit("what it writes", size(running._WRITTEN), "ended; beginning and end are shown"),  # noqa: SLF001
        Limit("a frame of what it writes", size(4 * 2**20), "ended, and said"),
        Limit("an answer of an API server", size(session.MAX_ANSWER), "abandoned while it is read, with advice"),
        Limit("answers being read, of all clusters", size(holding.BYTES_IN_FLIGHT), "a tool error: try again"),
        Limit("an event of a watch", size(watch.MAX_EVENT), "abandoned"),
        Limit("a discovery document or key set", size(system.MAX_DOCUMENT), "abandoned"),
        Limit("types of one cluster", f"{documents.MAX_TYPES:,}", "the rest is left out"),
        Limit("items of a list's page", f"{resource_list.MAX_ITEMS}", "capped, with `continue`"),
        Limit("a log that is read", size(logs.MOST_BYTES), "cut at whole lines, and said"),
        Limit("an answer to an agent", f"{size(per_cluster.answer_bytes)}, settable", "cut, with how to get the rest"),
        Limit("a value in a line of the log", f"{logging.LONGEST:,} characters", "beginning and end are kept"),
        Limit("sealing keys", f"{sealing._MOST_KEYS} in {size(sealing._MOST_BYTES)}", "the last good are kept"),  # noqa: SLF001
    )


def table() -> str:
    """Return the table as the page has it."""
    rows = [f"| {one.what} | {one.value} | {one.beyond} |" for one in limits()]
    return "\n".join(["| what | limit | beyond it |", "|---|---|---|", *rows])


def with_table(page: str) -> str:
    """Return the page with the table as it is now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
