"""Boundary between `check` and one token: each claim, why it would be refused, and where its RBAC is too wide."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gateway.cli.findings import Report, Status
from gateway.clusters.options import ClusterOptions
from gateway.clusters.urls import canonical_url
from gateway.errors import GatewayError, Unauthenticated
from gateway.identity.claims import check_times, named_url, read_claims, third_fits
from gateway.kube.errors import InvalidToken
from gateway.kube.paths import Attributes
from gateway.operator.server import Server
from gateway.policy.rules import check
from gateway.settings import Settings

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RBAC: Final = "rbac.authorization.k8s.io"


class Right(NamedTuple):
    """Something an agent could do, in words, and the request as RBAC knows it."""

    words: str
    verb: str
    group: str
    resource: str
    subresource: str = ""


_DANGERS: Final = (
    Right("read Secrets", "get", "", "secrets", ""),
    Right("list Secrets", "list", "", "secrets", ""),
    Right("mint tokens of service accounts", "create", "", "serviceaccounts", "token"),
    Right("impersonate users", "impersonate", "", "users", ""),
    Right("bind roles", "bind", _RBAC, "clusterroles", ""),
    Right("give itself more rights", "escalate", _RBAC, "clusterroles", ""),
    Right("create pods", "create", "", "pods", ""),
    Right("change deployments", "patch", "apps", "deployments", ""),
    Right("delete pods", "delete", "", "pods", ""),
    Right("run commands in pods", "create", "", "pods", "exec"),
    Right("evict pods", "create", "", "pods", "eviction"),
    Right("forward ports of pods", "create", "", "pods", "portforward"),
    Right("use nodes as a proxy", "get", "", "nodes", "proxy"),
    Right("approve certificates", "update", "certificates.k8s.io", "certificatesigningrequests", "approval"),
)
_SEEING: Final = Right("see pods", "list", "", "pods")
_BEYOND: Final = frozenset({"impersonate", "bind", "escalate", "update"})
"""Verbs that no request through the gateway has."""


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says of itself, however little of it is right; nothing where it is no JWT."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def cluster_of(token: str, settings: Settings) -> ClusterOptions | None:
    """Return the listed cluster that any of the token's audiences names, the first one first."""
    listed = {cluster.server: cluster for cluster in settings.clusters}
    audiences = claims_of(token).get("aud")
    for audience in audiences if isinstance(audiences, list) else [audiences]:
        try:
            found = listed.get(canonical_url(str(audience)))
        except ValueError:
            continue
        if found is not None:
            return found
    return None


def judge(token: str, settings: Settings, cluster: ClusterOptions | None, report: Report) -> bool:
    """Judge what the token says of itself as the gateway does; return whether the cluster may be asked about it."""
    claims = claims_of(token)
    audiences = claims.get("aud")
    for name in ("iss", "sub"):
        report.add(f"token {name}", "ok" if claims.get(name) else "fail", str(claims.get(name) or "missing"))
    report.add("token exp", *_expiry(claims.get("exp")))
    try:
        read = read_claims(token)
        check_times(read, time.time(), settings)
        named = named_url(read, settings.audience)
        if cluster is None or named != cluster.server:
            raise Unauthenticated("cluster", "Its first audience names no cluster of these settings.")  # noqa: TRY301
        if not third_fits(read, cluster.default_audience):
            raise Unauthenticated("audience", f"Its third audience is not {cluster.default_audience or 'a third one'}.")  # noqa: TRY301
    except Unauthenticated as error:
        check_name = "token aud" if error.reason in ("audience", "cluster") else "token"
        report.add(check_name, "fail", f"{error.message}{_order(audiences, settings, cluster)} {_mint(cluster)}")
        return False
    report.add("token aud", "ok", ", ".join(read.audiences))
    return True


async def accept(server: Server, cluster: ClusterOptions, report: Report) -> bool:
    """Ask the cluster whom the token speaks for (SelfSubjectReview, KEP-3325); return whether it is anybody."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await server.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except InvalidToken:
        report.add(
            "token accepted",
            "fail",
            "the cluster refuses it: another cluster signed it, its third audience is not this cluster's own, or its "
            f"service account is gone. {_mint(cluster)}",
        )
        return False
    except GatewayError as error:
        report.add("token accepted", "fail", error.message)
        return False
    report.add("token accepted", "ok", str(answer["status"]["userInfo"].get("username")))
    return True


async def compare(server: Server, cluster: ClusterOptions, report: Report) -> None:
    """Say where the token's RBAC is wider than the cluster's policy, which then protects nothing there (promise 12)."""
    namespaces = ("", "default", "kube-system", *sorted(cluster.policy.namespaces.allow))
    wide = await asyncio.gather(*(_wide(server, cluster, danger, namespaces) for danger in _DANGERS))
    denied = sorted(cluster.policy.namespaces.deny)
    if cluster.policy.namespaces.allow:
        denied.append("")
    seen = await asyncio.gather(*(_allowed(server, _SEEING, namespace) for namespace in denied))
    found = [text for text in wide if text]
    found += [
        f"see {f'namespace {one}' if one else 'all namespaces'}" for one, may in zip(denied, seen, strict=True) if may
    ]
    if found:
        advice = "A role that is not: kube-mcp-gateway onboard --context CONTEXT --role viewer."
        report.add(
            "rbac", "fail", f"wider than the policy, for whoever uses it directly: may {'; '.join(found)}. {advice}"
        )
    else:
        report.add("rbac", "ok", "no wider than the policy, as far as was asked")


async def _wide(server: Server, cluster: ClusterOptions, right: Right, namespaces: tuple[str, ...]) -> str:
    for namespace in dict.fromkeys(namespaces):
        if not _permitted(cluster, right, namespace) and await _allowed(server, right, namespace):
            return f"{right.words}{f' in {namespace}' if namespace else ''}"
    return ""


def _permitted(cluster: ClusterOptions, right: Right, namespace: str) -> bool:
    """Say whether the policy allows it as well; for all namespaces, in one of those it allows."""
    rules = cluster.policy.namespaces
    inside = namespace or min(rules.allow - rules.deny, default="default")
    attributes = Attributes(right.verb, right.group, "v1", right.resource, right.subresource, inside, "any")
    try:
        check(cluster.policy, attributes, namespaced=True)
    except GatewayError:
        return False
    return right.verb not in _BEYOND


async def _allowed(server: Server, right: Right, namespace: str) -> bool:
    wanted = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "namespace": namespace,
    }
    spec = {"resourceAttributes": {key: value for key, value in wanted.items() if value}}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = await server.request("POST", _REVIEWS, body)
    return bool(answer["status"].get("allowed"))


def _expiry(value: Any) -> tuple[Status, str]:
    if not isinstance(value, int | float):
        return "fail", "missing: a token that never ends is not accepted"
    left = value - time.time()
    shown = datetime.fromtimestamp(int(value), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if left < 0:
        return "fail", f"expired {shown}"
    return ("warn" if left < 600 else "ok"), f"{shown}, in {int(left // 3600)} h {int(left % 3600 // 60)} min"  # noqa: PLR2004


def _order(audiences: Any, settings: Settings, cluster: ClusterOptions | None) -> str:
    """Say what the audiences should be, where the right ones are there in another order."""
    found = f" Found: {json.dumps(audiences)}."
    if not isinstance(audiences, list) or cluster is None or settings.audience not in audiences:
        return found
    if audiences[:2] == [cluster.server, settings.audience]:
        return found
    third = cluster.default_audience or "the cluster's own"
    return f" The order is wrong.{found} It must be {cluster.server}, {settings.audience}, {third}."


def _mint(cluster: ClusterOptions | None) -> str:
    return f"Mint one with: kube-mcp-gateway token {cluster.name if cluster else 'CLUSTER'} --config FILE"
