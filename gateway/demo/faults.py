"""The boundary of what can go wrong with a cluster on request: faults as values, limited to paths, verbs and a count.

Each says in one line what a client meets. Connection faults (`Refuse`, `Hang("accept")`, `ExpiredCertificate`) concern
every connection made while they last; the others concern the requests they are limited to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

import orjson

from gateway.demo.route import route
from gateway.demo.wire import PLAIN, Answer, Call, Obj, StatusError, bad_request


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens: connections are refused, and open ones are cut."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more comes after `accept` (no TLS handshake), `tls` (no answer), `headers` (no body) or `half` a body."""

    after: Literal["accept", "tls", "headers", "half"] = "tls"


@dataclass(frozen=True, slots=True)
class Latency:
    """Every answer comes this many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """The body comes in pieces, this many bytes a second."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after this many bytes of the body; -1 resets before the status line."""

    after: int = 100


@dataclass(frozen=True, slots=True)
class Truncate:
    """The body ends after this many bytes, its length announced accordingly: good HTTP, broken JSON."""

    after: int = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """Something else is answered in place of what was asked for."""

    status: int
    body: bytes = b""
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


def too_many_requests(retry_after: int = 1) -> Reply:
    """Return the 429 of API Priority and Fairness: plain text, with Retry-After in seconds."""
    words = b"Too many requests, please try again later.\n"
    return Reply(429, words, headers=(("Retry-After", str(retry_after)),))


def server_error(status: int = 500, message: str = "etcdserver: request timed out") -> Reply:
    """Return a Status of 500, 503 or the like."""
    if status == 500:
        message = f"Internal error occurred: {message}"
    answer = StatusError(status, message).answer()
    return Reply(status, answer.body if isinstance(answer.body, bytes) else b"", answer.content_type)


def not_json() -> Reply:
    """Return a page of HTML with status 200, as a captive portal or a wrong proxy would."""
    return Reply(200, b"<!doctype html><title>Sign in</title>", "text/html")


def redirect(to: str, status: int = 307) -> Reply:
    """Send the client elsewhere."""
    return Reply(status, b"", headers=(("Location", to),))


@dataclass(frozen=True, slots=True)
class ExpireContinue:
    """Every continue token is too old: 410 with a token to go on inconsistently."""


@dataclass(frozen=True, slots=True)
class BrokenService:
    """An aggregated API service does not answer: discovery shows it stale, its own paths are 503."""

    group: str = "metrics.k8s.io"
    version: str = "v1beta1"


@dataclass(frozen=True, slots=True)
class ExpiredCertificate:
    """New connections get a certificate that ended yesterday; open ones are cut."""


@dataclass(frozen=True, slots=True)
class HugeList:
    """Lists are answered with a stream of about this many bytes of items, made while they are sent."""

    size: int = 200 << 20


@dataclass(frozen=True, slots=True)
class Webhook:
    """An admission webhook looks at writes: it denies them with a message, or does not support dry runs, or both."""

    name: str
    denies: str = ""
    code: int = 403
    supports_dry_run: bool = True

    def refusal(self, call: Call) -> Answer | None:
        """Return the refusal of a call, None where the webhook lets it pass."""
        if "dryRun" in call.query and not self.supports_dry_run:
            return bad_request(f'admission webhook "{self.name}" does not support dry run').answer()
        if self.denies:
            return StatusError(self.code, f'admission webhook "{self.name}" denied the request: {self.denies}').answer()
        return None


Fault = (
    Refuse
    | Hang
    | Latency
    | Slow
    | Reset
    | Truncate
    | Reply
    | ExpireContinue
    | BrokenService
    | ExpiredCertificate
    | HugeList
    | Webhook
)

_WRITES = {"create", "update", "patch", "delete"}


@dataclass(slots=True)
class Active:
    """A fault in force, and how often it was met."""

    fault: Fault
    paths: tuple[str, ...] = ("*",)
    """Patterns as fnmatch has them, matched on the path without the query."""
    verbs: frozenset[str] = frozenset()
    """Kubernetes verbs (get, list, watch, create, patch, ...); none means all."""
    count: int | None = None
    """How many requests or connections it strikes; None means all."""
    hits: int = field(default=0, init=False)

    def strikes(self, call: Call | None) -> bool:
        """Say whether the fault concerns this request (or, without one, a new connection), and count it."""
        if self.count is not None and self.hits >= self.count:
            return False
        if call is not None and not self._concerns(call):
            return False
        self.hits += 1
        return True

    def _concerns(self, call: Call) -> bool:
        if isinstance(self.fault, Refuse | BrokenService | ExpiredCertificate) or self.fault == Hang("accept"):
            return False  # these strike elsewhere
        if isinstance(self.fault, ExpireContinue) and not call.param("continue"):
            return False
        if isinstance(self.fault, HugeList) and route(call).verb != "list":
            return False
        if isinstance(self.fault, Webhook) and route(call).verb not in _WRITES:
            return False
        if not any(fnmatchcase(call.path, pattern) for pattern in self.paths):
            return False
        return not self.verbs or route(call).verb in self.verbs


def huge_list(call: Call, size: int) -> Iterator[bytes]:
    """Yield a list of ConfigMaps, or a Table of them, of about this many bytes, 64 KiB at a time."""
    table = "as=Table" in call.header("accept")
    kind, version = ("Table", "meta.k8s.io/v1") if table else ("ConfigMapList", "v1")
    columns = '"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"","priority":0}],'
    head = f'{{"kind":"{kind}","apiVersion":"{version}","metadata":{{"resourceVersion":"1"}},'
    yield f'{head}{columns}"rows":['.encode() if table else f'{head}"items":['.encode()
    sent = index = 0
    while sent < size:
        item = orjson.dumps(_huge_item(index, route(call).namespace or "default", table=table))
        chunk = b"," + item if index else item
        yield chunk
        sent += len(chunk)
        index += 1
    yield b"]}"


def _huge_item(index: int, namespace: str, *, table: bool) -> Obj:
    filler = {"filler": "x" * 65_000}
    metadata: Obj = {
        "name": f"huge-{index:06}",
        "namespace": namespace,
        "uid": f"00000000-0000-4000-8000-{index:012}",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    if not table:
        return {"metadata": metadata, "data": filler}
    shown = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {"cells": [metadata["name"]], "object": {**shown, "metadata": {**metadata, "annotations": filler}}}


def answer_of(reply: Reply) -> Answer:
    """Return a Reply as the answer it stands for."""
    return Answer(reply.status, reply.body, reply.content_type, dict(reply.headers))
