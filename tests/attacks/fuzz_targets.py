"""What is fuzzed: each boundary where bytes from outside become values, and what must hold whatever they are.

A target takes any bytes. It raises nothing but what the boundary documents, and asserts that what was accepted is what
may be: bounded, of the right shape, and nothing that an attacker could have made.
"""

import ipaddress
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.access.continuation import Continuation
from gateway.access.plans import Binding, Plans, UsedInMemory
from gateway.access.sealing import SealingKeys, read_ring
from gateway.clusters.pool import ClusterKey
from gateway.clusters.urls import MAX_URL, canonical_url
from gateway.discovery.catalog import build
from gateway.discovery.documents import core_versions, from_aggregated, from_legacy, group_versions, is_aggregated
from gateway.discovery.resolve import MAX_NEAREST, One, Several, resolve
from gateway.edge.bearer import bearer_token
from gateway.edge.managers import Envelope, envelope_of
from gateway.edge.sources import Sources
from gateway.errors import BadArgument, GatewayError, Unauthenticated
from gateway.identity.claims import ALGORITHMS, MAX_TOKEN, check_times, named_url, read_claims
from gateway.identity.keys import KeyRing, signing_key
from gateway.identity.options import IdentityOptions
from gateway.identity.principal import Principal
from gateway.kube.errors import ApiError, error_from
from gateway.kube.paths import MAX_SEGMENT, Attributes, attributes_of, resource_path
from gateway.policy.options import PolicyOptions
from gateway.redaction.text import redacted
from gateway.tools.manifests import parse_manifest
from tests.attacks.catalogue import ISSUER, b64, compact, sealed

Run = Callable[[bytes], None]
NOW: Final = 1_800_000_000
AUDIENCE: Final = "k-mcp"


@dataclass(frozen=True, slots=True)
class Target:
    """One boundary: inputs to begin with, and what an input is put through."""

    seeds: tuple[bytes, ...]
    run: Run


def _token() -> Target:
    key = ec.generate_private_key(ec.SECP256R1())
    public = signing_key(_jwk(key))
    assert public is not None
    server = "https://127.0.0.1:6443"
    ring = KeyRing(ClusterKey(server, "", ""), ISSUER, (public,), 0)
    head = {"alg": "ES256", "kid": "one", "typ": "JWT"}
    good = {"aud": [server, AUDIENCE, ISSUER], "exp": NOW + 600, "nbf": NOW, "iss": ISSUER, "sub": "a", "jti": "b"}
    tokens = [sealed(compact(head), compact(good | more), "ES256", key) for more in ({}, {"x": {"y": [1, 2.5, None]}})]
    signed = {token.rpartition(".")[0].encode() for token in tokens}
    options = IdentityOptions()

    def run(data: bytes) -> None:
        text = data.decode("latin-1")
        try:
            claims = read_claims(text)
            assert len(text) <= MAX_TOKEN
            assert claims.algorithm in ALGORITHMS
            assert claims.issuer.isprintable()
            assert claims.subject.isprintable()
            if ring.finding(claims) == "verified":
                assert claims.signed in signed, "a forged token was verified"
            check_times(claims, NOW + 1, options)
            assert claims.expires_at > NOW
            url = named_url(claims, AUDIENCE)
            assert canonical_url(url) == url
        except Unauthenticated:
            pass
        try:
            value = bearer_token([(b"authorization", b"Bearer " + data)])
            assert value.isascii()
            assert value.isprintable()
        except Unauthenticated:
            pass

    return Target(tuple(token.encode() for token in tokens), run)


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": "one",
        "x": b64(numbers.x.to_bytes(32)),
        "y": b64(numbers.y.to_bytes(32)),
    }


def _claims() -> Target:
    """The same behind the base64, where mutations of a token's text hardly ever come."""
    good = compact({"aud": ["https://a.example", AUDIENCE, ISSUER], "exp": NOW + 600, "iss": "i", "sub": "s"})
    head = b64(compact({"alg": "RS256"}))

    def run(data: bytes) -> None:
        for token in (f"{head}.{b64(data)}.AAAA", f"{b64(data)}.{b64(good)}.AAAA"):
            try:
                claims = read_claims(token)
                assert 0 <= claims.expires_at < 1e12
                assert all(0 < len(one) <= 2048 for one in claims.audiences)
            except Unauthenticated:
                pass

    return Target((good.encode(), b'{"alg":"RS256","kid":"k"}', b'{"exp":1e999}', b'{"aud":[[]]}'), run)


def _url() -> Target:
    def run(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        try:
            canonical = canonical_url(text)
        except ValueError:
            return
        assert canonical_url(canonical) == canonical
        assert len(canonical) <= MAX_URL
        split = urlsplit(canonical)
        assert (split.scheme, split.query, split.fragment) == ("https", "", "")
        assert split.username is None
        assert split.hostname
        # Another reader of what was typed finds the same host and port.
        other = urlsplit(text)
        assert _host(other.hostname or "") == _host(split.hostname)
        assert (other.port or 443) == (split.port or 443)
        assert "/../" not in f"{split.path}/"

    urls = "https://east.example:6443", "HTTPS://[::1]:443/k8s/c-1/", "https://10.0.0.1", "https://a@b", "https://a#b"
    return Target(tuple(url.encode() for url in urls), run)


def _host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


DISCOVERED: Final = orjson.dumps(
    {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "items": [
            {
                "metadata": {"name": group},
                "versions": [
                    {
                        "version": "v1",
                        "freshness": "Current",
                        "resources": [
                            {
                                "resource": plural,
                                "responseKind": {"group": "", "version": "", "kind": kind},
                                "scope": "Namespaced",
                                "singularResource": kind.lower(),
                                "shortNames": [plural[:2]],
                                "verbs": ["get", "list", "create"],
                                "subresources": [{"subresource": "status", "verbs": ["get"]}],
                            }
                        ],
                    }
                ],
            }
            for group, plural, kind in (
                ("apps", "deployments", "Deployment"),
                ("example.com", "secrets", "Secret"),
                ("rbac.authorization.k8s.io", "roles", "Role"),
            )
        ],
    }
)
CORE: Final = DISCOVERED.replace(b'"name":"apps"', b'"name":""')


def _resource() -> Target:
    served = from_aggregated(orjson.loads(CORE), core=True) + from_aggregated(orjson.loads(DISCOVERED), core=False)
    catalog = build(served, PolicyOptions())

    def run(data: bytes) -> None:
        match resolve(catalog, data.decode("utf-8", "surrogateescape")):
            case One(found):
                assert found in catalog.types
                assert found.group != "rbac.authorization.k8s.io"
            case Several(found):
                assert set(found) <= set(catalog.types)
            case unknown:
                assert len(unknown.nearest) <= MAX_NEAREST
                assert set(unknown.nearest) <= set(catalog.types)

    typed = b"deployments.v1.apps", b"apps/v1/Deployment", b"deploy", b"role", b"secrets.example.com", b"v1/Pod"
    return Target(typed, run)


def _path() -> Target:
    def run(data: bytes) -> None:
        parts = [*data.decode("utf-8", "surrogateescape").split("\n", 5), *[""] * 6][:6]
        target = Attributes("get", *parts)
        try:
            path = resource_path(target)
            read = attributes_of("get", path)
        except BadArgument:
            return
        assert path.isascii()
        assert path.isprintable()
        assert not {"", ".", ".."} & set(path.split("/")[1:])
        assert all(
            len(unquote(one, errors="surrogatepass").encode("utf-8", "surrogateescape")) <= MAX_SEGMENT
            for one in path.split("/")
        )
        # An API server decodes each segment once, and then knows nothing that was not typed.
        decoded = [unquote(part, errors="surrogatepass") for part in path.split("/")]
        assert set(decoded) <= {"", "api", "apis", "namespaces", *parts}
        assert "%2f" not in path.lower()
        if target.resource != "namespaces" and target.name and (target.subresource or not read.subresource):
            assert unquote(read.name, errors="surrogatepass") == target.name

    seeds = (
        b"apps\nv1\ndeployments\nscale\ndemo\nweb",
        b"\nv1\npods\nlog\ndemo\na%2fb",
        b"\nv1\nnamespaces\n\nx\nstatus",
    )
    return Target((*seeds, b"\nv1\nwatch\n\n\nsecrets", b"\nv1\npods\n\n..\n."), run)


def _manifest() -> Target:
    def run(data: bytes) -> None:
        try:
            documents = parse_manifest(data.decode("utf-8", "replace"))
        except BadArgument:
            return
        assert documents
        for document in documents:
            assert document.kind
            assert document.api_version
            json.dumps(document.content)

    seeds = (
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {x: 'y'}\n---\n",
        b'{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}]}',
        b"a: &a [*a]\nb: !!python/object:os.system x\n<<: *a\n? {a: b}\n: |\n  x\n",
        b"kind: !!binary AAAA\nmetadata: {name: 0x10, labels: {on: yes, 1: 2020-01-01}}\n",
    )
    return Target(seeds, run)


def _discovery() -> Target:
    def run(data: bytes) -> None:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        is_aggregated(document)
        served = [*from_aggregated(document, core=True), *from_aggregated(document, core=False)]
        served.append(from_legacy("apps", "v1", document))
        catalog = build(served, PolicyOptions())
        assert all(isinstance(pair, tuple) for pair in (*core_versions(document), *group_versions(document)))
        for found in catalog.types:
            assert found.group != "rbac.authorization.k8s.io"
            assert (found.group, found.plural) not in {("", "secrets"), ("", "serviceaccounts")}
            # What was discovered builds paths; nothing in it may lead elsewhere.
            resource_path(Attributes("get", found.group, found.version, found.plural, "", "", "x"))

    legacy = (
        b'{"kind":"APIResourceList","groupVersion":"apps/v1","resources":[{"name":"a","kind":"A","verbs":["get"]}]}'
    )
    groups = b'{"kind":"APIGroupList","groups":[{"name":"apps","preferredVersion":{"groupVersion":"apps/v1"}}]}'
    return Target((DISCOVERED, CORE, legacy, groups, b'{"versions":["v1"]}'), run)


def _status() -> Target:
    def run(data: bytes) -> None:
        status = 400 + (data[0] if data else 0) % 200
        headers = {"Retry-After": data[1:5].decode("latin-1"), "Content-Type": "application/json"}
        for body in (data, data[5:]):
            error = error_from(status, headers, body)
            assert isinstance(error, ApiError)
            assert len(error.message) < 20_000

    seed = b'{"kind":"Status","status":"Failure","message":"m","reason":"NotFound","code":404,'
    details = b'"details":{"retryAfterSeconds":1,"causes":[{"reason":"a","field":"b","message":"c"}]}}'
    return Target((seed + details, b"\x1d9999no", b"429"), run)


def _envelope() -> Target:
    def run(data: bytes) -> None:
        envelope = envelope_of(data)
        assert isinstance(envelope, Envelope)
        assert isinstance(envelope.method, str)
        assert {(envelope.method, envelope.request_id): 1}

    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"resource_get",'
    call += b'"arguments":{"resource":"pods"},'
    meta = b'"_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}'
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
    hello = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"capabilities":{"elicitation":{}}}}'
    return Target((call + meta, cancel, hello, b"[" * 2000), run)


def _sealed() -> Target:
    keys = SealingKeys([bytes(range(32))])
    continuation = Continuation(keys)
    who = Principal("i", "s", "east", "https://a.example", ClusterKey("https://a.example", "", ""), "0" * 64, 1.0, "")
    binding = Binding(who, "tool", "asked", "met")
    plans = Plans(keys, UsedInMemory(time.monotonic), lambda: NOW)
    # Sealed for somebody else: good in every way but for whom.
    plan = plans.make(Binding(who, "tool", "other", "met"))
    page = continuation.seal("token", "other list")

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        for opened in (
            lambda: plans.check(text, binding),
            lambda: continuation.open(text, "list"),
            lambda: _ring(text),
        ):
            try:
                opened()
            except BadArgument:
                continue
            raise AssertionError("what nobody sealed for this was opened")

    return Target((plan.encode(), page.encode(), b"1" + b"A" * 40), run)


def _ring(text: str) -> None:
    try:
        keys = read_ring(text)
    except ValueError:
        raise BadArgument("no ring") from None
    assert all(len(key) >= 32 for key in keys)
    raise BadArgument("a ring, which is nothing sealed")


def _forwarded() -> Target:
    trusted = ipaddress.ip_network("10.0.0.0/8")
    sources = Sources([trusted])

    def run(data: bytes) -> None:
        one, _, two = data.partition(b"\n")
        headers = [(b"x-forwarded-for", one)] + ([(b"forwarded", two)] if two else [])
        for peer in ("10.0.0.1", "192.0.2.1"):
            source = sources.of({"client": (peer, 1), "headers": headers})
            assert ipaddress.ip_network(source).version in {4, 6}
            assert peer != "192.0.2.1" or source == peer

    return Target((b"1.1.1.1, 10.0.0.2", b"::1\nfor=1.1.1.1", b'a\nfor="[2001:db8::1]:80";by=_x, for=10.0.0.9'), run)


def _redaction() -> Target:
    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        assert isinstance(redacted(text), str)

    seeds = (
        b"password: hunter2hunter2\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
        b"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA\npostgres://user:secret@db/app?sslmode=x\n",
        b"-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n",
    )
    return Target(seeds, run)


TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "token": _token,
    "claims": _claims,
    "URL": _url,
    "resource name": _resource,
    "path segment": _path,
    "manifest": _manifest,
    "discovery": _discovery,
    "Status": _status,
    "MCP envelope": _envelope,
    "sealed value": _sealed,
    "forwarding header": _forwarded,
    "redaction": _redaction,
}

LONGEST_SECONDS: Final = 2.0
"""What one input may take of this process' own time."""


def bounded(target: Target) -> Run:
    """Return the target's run, which fails where an input takes too long or raises what nobody documented."""

    def run(data: bytes) -> None:
        began = time.process_time()
        try:
            target.run(data)
        except (GatewayError, ValueError, RecursionError) as error:
            raise AssertionError(f"{type(error).__name__} left the boundary") from error
        assert time.process_time() - began < LONGEST_SECONDS

    return run
