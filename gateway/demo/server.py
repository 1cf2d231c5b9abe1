"""The boundary of one embedded cluster as its users see it: start it, talk to it, mint tokens for it, make it fail.

Hundreds of these share a process and an event loop; each has its own port, CA, signing keys and objects.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import orjson
import yaml
from aiohttp import web

from gateway.demo import api, bodies, crds, metrics, ownership, reviews
from gateway.demo import exec as exec_
from gateway.demo.bootstrap import bootstrap
from gateway.demo.discovery import broken_service
from gateway.demo.faults import (
    Active,
    BrokenService,
    ExpireContinue,
    ExpiredCertificate,
    Fault,
    Hang,
    HugeList,
    Latency,
    Refuse,
    Reply,
    Reset,
    Slow,
    Truncate,
    Webhook,
    answer_of,
    huge_list,
)
from gateway.demo.identity import ISSUER, Authority, Keys, TokenKey, new_ec_key, new_rsa_key
from gateway.demo.listener import Listener
from gateway.demo.logs import Logs
from gateway.demo.rbac import ADMIN
from gateway.demo.reads import expired_continue
from gateway.demo.replies import BodyFault, call_of, forever, query_of, send
from gateway.demo.state import Crash, State
from gateway.demo.wire import Answer, Call, Obj

_SEEN = 20_000
_CONTEXT = ("traceparent", "tracestate", "baggage")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came in over the network."""

    method: str
    path: str
    """As sent, without the query."""
    query: str
    agent: str
    connection: int
    """The connection it came on, numbered from 1."""
    context: Mapping[str, str]
    """What of W3C's trace context and baggage it came with, by header."""


class EmbeddedCluster:
    """An API server on 127.0.0.1 that behaves as Kubernetes does for what the gateway uses.

    Starts with the namespaces default, kube-system and demo, and the service accounts demo/mcp (cluster-admin) and
    demo/viewer (may view demo). Every cluster's tokens name the same issuer; CA and keys differ.
    """

    def __init__(
        self, name: str = "embedded", *, port: int = 0, algorithm: str = "ES256", certificate_days: int = 365
    ) -> None:
        """Prepare a cluster; `port` 0 takes a free one, `algorithm` is ES256 or (50 ms slower) RS256.

        Its certificate ends in so many days.
        """
        self.name = name
        self.requests: deque[Seen] = deque(maxlen=_SEEN)
        self.served = 0
        self._port = port
        self._algorithm = algorithm
        self._authority = Authority.new(name)
        self._state = State(name, Keys((self._new_key(),)))
        self._faults: list[Active] = []
        self._listener = Listener(self._respond, self._authority, self._faults, certificate_days)
        bootstrap(self._state.store)

    def __repr__(self) -> str:
        return f"<EmbeddedCluster {self.name} {self.server} connections={self.connections} served={self.served}>"

    async def start(self) -> Self:
        """Listen; raises OSError when the port is taken."""
        self._listener.start(self._port)
        self._state.address = f"127.0.0.1:{self._listener.port}"
        return self

    async def stop(self) -> None:
        """Close the port and every connection."""
        self._state.stop()
        await self._listener.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def server(self) -> str:
        """The API server's URL, the first audience of its tokens."""
        return f"https://127.0.0.1:{self._listener.port}"

    @property
    def ca_pem(self) -> bytes:
        """The CA bundle that its certificate verifies against."""
        return self._authority.pem()

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted so far."""
        return self._listener.connections

    @property
    def logs(self) -> Logs:
        """What containers wrote; write to it to give a pod a log."""
        return self._state.logs

    def count(self, method: str = "", path: str = "") -> int:
        """Count the requests that came in over the network, by method and by a part of the path."""
        return sum(1 for seen in self.requests if method in {"", seen.method} and path in seen.path)

    async def token(self, *audiences: str, service_account: str = "demo/mcp", seconds: int = 3600) -> str:
        """Mint a token; without audiences the three a gateway wants. Any lifetime goes, also a negative one."""
        namespace, _, name = service_account.partition("/")
        wanted = audiences or (self.server, "k-mcp", ISSUER)
        return self.sign(reviews.claims_for(self._state, namespace, name, wanted, seconds))

    def sign(
        self,
        claims: Mapping[str, Any],
        headers: Mapping[str, Any] | None = None,
        key: Any = None,
        algorithm: str | None = None,
    ) -> str:
        """Sign whatever claims and headers with the cluster's key, or with another one."""
        return self._state.keys.sign(claims, headers, key, algorithm)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
        params: Mapping[str, str] | None = None,
        accept: str = "*/*",
    ) -> tuple[int, bytes]:
        """Ask the API server in process, as its administrator unless a token is given.

        No fault strikes, nothing is counted.

        `path` may carry a query; `body` is bytes, text or something to be written as JSON.
        """
        plain, _, query = path.partition("?")
        pairs = "&".join(filter(None, (query, urlencode(params or {}))))
        headers = {"content-type": content_type, "accept": accept}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else orjson.dumps(body)
        call = Call(method, plain, query_of(pairs), headers, b"" if body is None else raw)
        answer = await api.handle(self._state, call, ADMIN if token is None else None)
        if isinstance(answer.body, bytes):
            return answer.status, answer.body
        return answer.status, b"".join([chunk async for chunk in answer.body])

    async def apply(self, manifest: str) -> None:
        """Apply every document of a manifest, as the administrator and as kubectl; raises ValueError on a refusal."""
        for document in yaml.load_all(manifest, Loader=yaml.CSafeLoader):
            if document:
                await self._apply(document)

    async def _apply(self, document: Obj) -> None:
        resource = self._state.discovery.of_kind(document["apiVersion"], document["kind"])
        if resource is None:
            raise ValueError(f"no kind {document['kind']} in {document['apiVersion']}")
        metadata = document["metadata"]
        root = "/apis" if resource.group else "/api"
        where = f"/namespaces/{metadata.get('namespace', 'default')}" if resource.namespaced else ""
        path = f"{root}/{resource.api_version}{where}/{resource.plural}/{metadata['name']}"
        query = "?fieldManager=kubectl&force=true"
        status, body = await self.request("PATCH", path + query, document, content_type=bodies.APPLY)
        if status >= 300:
            raise ValueError(f"{status} {body.decode()}")

    def serve_metrics(self) -> None:
        """Serve metrics.k8s.io, as a cluster with metrics-server does."""
        self._state.discovery = self._state.discovery.with_group(metrics.announced())

    def lose_image(self, image: str) -> None:
        """Let no registry have an image: pods that want it wait with ImagePullBackOff."""
        self._state.missing_images.add(image)

    def crash(self, crash: Crash) -> None:
        """Let an image's containers crash under a condition."""
        self._state.crashes.append(crash)

    def seed(self, items: Iterable[Obj], owner: str | None = None) -> None:
        """Put whole objects in as they are, status, timestamps and all, past validation and defaults.

        With an owner, managedFields say that this field manager created them.
        """
        for item in items:
            resource = self._state.discovery.of_kind(item["apiVersion"], item["kind"])
            if resource is None:
                raise ValueError(f"no kind {item['kind']} in {item['apiVersion']}")
            self._state.store.put(resource.key, item if owner is None else ownership.created_by(resource, item, owner))
            if resource.key == crds.KEY:
                crds.serve(self._state)

    def compact(self) -> None:
        """Forget the past: continue tokens and watches from before now are refused with 410."""
        self._state.compacted = self._state.store.revision
        for key in self._state.store.resources():
            self._state.store.forget(key)

    def rotate_keys(self, *, keep_old: bool = False) -> None:
        """Sign with a new key; tokens of the old one go on being accepted, and published, only if kept."""
        old = self._state.keys.accepted if keep_old else ()
        self._state.keys = Keys((self._new_key(), *old))

    def rotate_ca(self) -> None:
        """Serve under a new CA, with a new serving certificate; open connections are cut."""
        self._authority = Authority.new(self.name)
        self._listener.trust(self._authority)

    def cut_connections(self) -> None:
        """Abort every open connection, as a dying API server would."""
        self._listener.cut()

    @contextlib.contextmanager
    def fault(
        self,
        fault: Fault,
        *,
        paths: Iterable[str] = ("*",),
        verbs: Iterable[str] = (),
        count: int | None = None,
    ) -> Iterator[Active]:
        """Let something go wrong while the block lasts; `hits` of what is returned counts how often it did.

        `paths` are fnmatch patterns, `verbs` Kubernetes verbs (none means all), `count` how often it strikes.
        """
        active = Active(fault, tuple(paths), frozenset(verbs), count)
        before = self._state.discovery
        if isinstance(fault, Refuse):
            self._listener.refuse()
        elif isinstance(fault, ExpiredCertificate):
            self._listener.cut()
        elif isinstance(fault, BrokenService):
            self._state.discovery = before.without(fault.group).with_group(broken_service(fault.group, fault.version))
        self._faults.append(active)
        try:
            yield active
        finally:
            self._faults.remove(active)
            if isinstance(fault, Refuse):
                self._listener.resume()
            elif isinstance(fault, ExpiredCertificate):
                self._listener.cut()
            elif isinstance(fault, BrokenService):
                self._state.discovery = before

    def _new_key(self) -> TokenKey:
        return TokenKey.of(new_rsa_key() if self._algorithm == "RS256" else new_ec_key())

    async def _respond(self, request: web.BaseRequest, connection: int) -> web.StreamResponse:
        try:
            call = call_of(request, await request.read())
        except web.HTTPRequestEntityTooLarge:
            words = "Request entity too large: limit is 3145728"
            return web.json_response(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": words,
                    "reason": "RequestEntityTooLarge",
                    "code": 413,
                },
                status=413,
            )
        self.served += 1
        query = request.raw_path.partition("?")[2]
        context = {name: value for name in _CONTEXT if (value := call.header(name))}
        self.requests.append(Seen(call.method, call.path, query, call.header("user-agent"), connection, context))
        struck = [active.fault for active in list(self._faults) if active.strikes(call)]
        if call.header("upgrade").lower() == "websocket":
            found = api.upgrade(self._state, call)
            if isinstance(found, Answer):
                return await send(request, call, found, [])
            if not any(isinstance(fault, Reply | Hang) for fault in struck):
                return await exec_.serve(request, call, found)
        answer = await self._answer(call, struck)
        broken: list[BodyFault] = [found for found in struck if isinstance(found, Hang | Slow | Reset | Truncate)]
        return await send(request, call, answer, broken)

    async def _answer(self, call: Call, struck: list[Fault]) -> Answer:
        for fault in struck:
            match fault:
                case Latency(seconds=seconds):
                    await asyncio.sleep(seconds)
                case Hang(after="tls"):
                    await forever()
                case Reply():
                    return answer_of(fault)
                case ExpireContinue():
                    return expired_continue(call).answer()
                case Webhook():
                    refused = fault.refusal(call)
                    if refused is not None:
                        return refused
                case HugeList(size=size):
                    return Answer(200, _each(huge_list(call, size)))
                case _:
                    pass
        return await api.handle(self._state, call)


async def _each(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
