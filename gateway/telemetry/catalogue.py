"""Boundary to whoever reads metrics: every one of them by name, with what it says and what to do about it.

docs/metrics.md is made of this, and nothing is counted, timed or shown that does not stand here.
"""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "kube_mcp_gateway_"


@dataclass(frozen=True, slots=True)
class Described:
    """One metric: its name without prefix and without a counter's `_total`, and what an operator does with it."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    labels: tuple[str, ...]
    documentation: str
    advice: str

    @property
    def full_name(self) -> str:
        """The name as Prometheus has it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


_CLUSTER: Final = ("cluster",)

CATALOGUE: Final = (
    Described(
        "counter",
        "tool_calls",
        ("tool", "cluster", "outcome"),
        "Tool calls by what came of them: ok, asked (a question to the person), or the word for what went wrong.",
        "The share of anything but ok and asked is what agents meet. unavailable, breaker_open: look at the cluster. "
        "rate_limited: at who calls. forbidden: at RBAC. internal: at the log, by request id; it is a fault here.",
    ),
    Described(
        "histogram",
        "tool_call_seconds",
        ("tool", "cluster"),
        "Time of a tool call, the API server's included, without the time in which a person was asked.",
        "What a caller waits for. In OpenMetrics each bucket names a request id, by which the audit trail is searched.",
    ),
    Described(
        "histogram",
        "own_seconds",
        ("tool",),
        "The gateway's own share of a tool call: the time in which no API request of it was under way.",
        "Rises when the process is short of CPU: raise its limit, or run more replicas.",
    ),
    Described(
        "counter",
        "api_requests",
        ("cluster", "verb", "status"),
        "Requests of callers to API servers by HTTP status, or by what kept them from having one.",
        "429 and 5xx: the API server is overloaded. 401: tokens it does not take. 403: RBAC. timeout, connect, tls, "
        "reset: it can't be reached. refused, not_found: the gateway's policy, without a request.",
    ),
    Described(
        "histogram",
        "api_request_seconds",
        _CLUSTER,
        "Time until an API server's answer was read, from when the request had its place at the cluster.",
        "Where this rises and own_seconds does not, it is the API server or the network to it.",
    ),
    Described(
        "counter",
        "authentication_failures",
        ("reason",),
        "Requests refused before MCP saw them.",
        "expired: a client that does not renew its token. missing, audience, cluster, path: one that is set up wrong. "
        "signature, rejected, malformed, algorithm: somebody tries, or a cluster has new keys. unavailable: a cluster "
        "could not be asked. throttled: its source was made to wait. The audit trail has each one's source.",
    ),
    Described(
        "counter",
        "redactions",
        _CLUSTER,
        "Values that looked like credentials and were masked in what callers read.",
        "They stand where everybody with the right to read sees them: find them, and put them into Secrets.",
    ),
    Described(
        "counter",
        "rate_limited",
        ("cluster", "rate"),
        "Calls refused because their caller had used up a minute's worth.",
        "One caller in a loop: the admin page names them. Many callers: raise limits.readsPerMinute and so on.",
    ),
    Described(
        "gauge",
        "rate_limits_alone",
        (),
        "1 while the shared store is away and this replica counts calls alone.",
        "Bring the store back: meanwhile each replica allows the whole rate, and plans are refused.",
    ),
    Described(
        "counter",
        "audit_lost",
        (),
        "Audit records that could not be written.",
        "The disk is full, or the file is gone; the log says which. Only the API server's audit log has them.",
    ),
    Described(
        "gauge", "sessions", (), "MCP sessions that are open.", "About 35 KiB each; they end after half an hour unused."
    ),
    Described("gauge", "watches", (), "Watches that are open.", "Each is a connection. Bounded for each caller."),
    Described(
        "gauge",
        "breaker_open",
        _CLUSTER,
        "1 while calls to a cluster are refused at once, because it answers nobody.",
        "Look at the cluster, and at the way to it; the admin page has its last error. It is tried again by itself.",
    ),
    Described(
        "counter",
        "breaker_openings",
        _CLUSTER,
        "How often a cluster stopped answering everybody.",
        "Rising while the cluster is thought to be well: the way to it is shaky.",
    ),
    Described(
        "gauge",
        "gate_inside",
        _CLUSTER,
        "Requests that a cluster is answering.",
        "At limits.connections for long: the API server is slow, or the limit is low for its callers.",
    ),
    Described(
        "gauge",
        "gate_waiting",
        _CLUSTER,
        "Requests that wait for a place at a cluster.",
        "Anything but 0 for a minute: see gate_inside. At limits.queue, calls are refused.",
    ),
    Described(
        "gauge",
        "pool_clients",
        (),
        "Warm cluster clients.",
        "One for each cluster in use.",
    ),
    Described(
        "gauge",
        "bytes_in_flight",
        (),
        "Bytes of API servers' large answers that are being read and held.",
        "Near bytesInFlight: callers ask for much at once, and some are sent away (outcome no_room).",
    ),
    Described(
        "gauge",
        "answers_held_back",
        (),
        "Answers that wait for room in memory.",
        "Anything but 0 for a minute: see bytes_in_flight.",
    ),
    Described("gauge", "pool_leases", (), "Calls that hold a cluster client.", "Calls in flight; what to scale by."),
    Described(
        "gauge",
        "pool_draining",
        (),
        "Replaced clients that wait for their last call.",
        "Briefly 1 at a renewal. Staying: a call does not end.",
    ),
    Described(
        "counter",
        "pool_renewals",
        (),
        "Cluster clients made.",
        "One for each cluster about every half hour. More: CA bundles change, or more clusters are used than are kept.",
    ),
    Described("gauge", "identity_verdicts", (), "Tokens known to be valid.", "About the number of callers."),
    Described("gauge", "identity_refusals", (), "Tokens known to be refused.", "See authentication_failures."),
    Described(
        "counter",
        "identity_key_reads",
        (),
        "Key sets read from clusters.",
        "At most one a minute for each cluster. Constantly so: tokens with keys that their cluster does not have.",
    ),
    Described(
        "counter",
        "identity_reviews",
        (),
        "SelfSubjectReviews asked of clusters that don't publish their keys, or for tokens they did not sign.",
        "One a minute for each such token. Publish the cluster's keys to save them.",
    ),
    Described("gauge", "discovery_catalogs", (), "Different catalogs in memory.", "Clusters of one kind share theirs."),
    Described(
        "gauge",
        "discovery_age_seconds",
        _CLUSTER,
        "Time since what a cluster serves was last confirmed.",
        "Confirmed every six hours where somebody calls. Older: nobody does, or the cluster can't be reached.",
    ),
    Described("gauge", "discovery_types", _CLUSTER, "Resource types a cluster serves.", "A sudden drop: see broken."),
    Described(
        "gauge",
        "discovery_broken",
        _CLUSTER,
        "Group/versions that a cluster lists and can't serve.",
        "An APIService whose backend is down: `kubectl get apiservices` names it.",
    ),
    Described(
        "counter",
        "discovery_fetches",
        ("cluster", "outcome"),
        "Discovery fetches.",
        "failed: see the log for why. Often for one cluster: its types keep changing.",
    ),
    Described(
        "gauge",
        "settings_reload_failed",
        (),
        "1 while the settings' files hold something newer that can't be used.",
        "The last good settings stay in use. The log's settings_reload_failed names every mistake.",
    ),
    Described(
        "gauge",
        "settings_loaded_timestamp_seconds",
        (),
        "When the settings in use were read, as Unix time.",
        "Older than the last change: the file that is watched is not the one that was changed.",
    ),
    Described(
        "gauge",
        "tls_certificate_expires_timestamp_seconds",
        (),
        "When the certificate that new connections to the agents' port get ends, as Unix time.",
        "Renew it: the files are read again when they change.",
    ),
    Described(
        "gauge",
        "tls_certificate_stale",
        (),
        "1 while the certificate's files changed to something that can't be used, and the last good one serves on.",
        "Put a good pair in place; the log says what is wrong with it. A restart would fail.",
    ),
    Described(
        "gauge",
        "api_server_certificate_expires_timestamp_seconds",
        _CLUSTER,
        "When the certificate that an API server last showed ends, as Unix time.",
        "Renew it on the cluster: once it has ended, nobody gets through.",
    ),
    Described(
        "gauge",
        "insecure_clusters",
        (),
        "Listed clusters whose certificate is not verified.",
        "Anything but 0 is a risk: whoever is in between reads every token. Give them a certificateAuthority.",
    ),
    Described("gauge", "clusters", (), "Listed clusters.", "What the settings say; changes at a reload."),
    Described("gauge", "sealing_keys", (), "Keys that open what was sealed.", "During a rotation 2 or more, else 1."),
    Described(
        "gauge",
        "sealing_keys_unusable",
        (),
        "1 while the file of sealing keys can't be used and the last good ones are.",
        "Put a good file in place; the log says what is wrong with it. A restart would fail.",
    ),
    Described(
        "gauge",
        "build_info",
        ("version", "python"),
        "1, for the versions that run.",
        "Which replicas run what, during a rollout.",
    ),
)
"""In the order in which an operator asks."""

BY_NAME: Final = {each.name: each for each in CATALOGUE}
