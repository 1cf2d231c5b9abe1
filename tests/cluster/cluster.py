"""Boundary between tests and a real cluster: what a test asks of it, and the first objects that it finds there.

The embedded clusters share this shape, so that one test can hold both to it.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

import jwt

from . import pki, programs
from .admin import USER_AGENT, ApiRefusedError, client_context
from .controlplane import ISSUER, ControlPlane

GATEWAY_AUDIENCE = "k-mcp"
SHORTEST_TOKEN = 600
LOGGED_TARGET = re.compile(r'"HTTP" verb="(\w+)" URI="([^"]*)" .* userAgent="((?:[^"\\]|\\.)*)"')
LOGGED_REQUEST = re.compile(r'"HTTP" verb=.* userAgent="((?:[^"\\]|\\.)*)" audit-ID="[^"]*" srcIP="([^"]+)"')
FIRST_OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: mcp, namespace: demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mcp}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: mcp, namespace: demo}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer, namespace: demo}
# `view` is made of this one by a controller, which takes a while and may be absent.
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:aggregate-to-view"}
subjects: [{kind: ServiceAccount, name: viewer, namespace: demo}]
"""


class RealCluster(ControlPlane):
    """A control plane with namespace `demo`, an administrator's account `demo/mcp` and a reader's, `demo/viewer`.

    `with` or `async with` starts it and ends it. Its coroutines may be called from any event loop: it belongs to none.
    """

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send one request as the administrator, or with a token; return status and body.

        A body that is neither bytes nor str is sent as JSON.
        """
        tls = client_context(self.ca_pem) if token is not None else None
        return await asyncio.to_thread(
            self.admin.request, method, path, body, content_type=content_type, token=token, params=params, tls=tls
        )

    async def apply(self, manifest_yaml: str) -> None:
        """Apply YAML documents with server-side apply, field manager `test`, forced.

        Raises:
            ApiRefusedError: the API server refused one.

        """
        await asyncio.to_thread(self.admin.apply, manifest_yaml)

    async def metrics(self) -> str:
        """Return the API server's /metrics; `api_requests` sums from it."""
        status, data = await self.request("GET", "/metrics")
        if status != 200:
            raise ApiRefusedError(f"/metrics: {status}")
        return data.decode()

    async def new_connections(self) -> int:
        """Return on how many TCP connections the API server has answered others than its cluster and administrator.

        A connection counts once the first request on it has ended; for a watch that is when the watch ends.
        """
        return await asyncio.to_thread(self._new_connections)

    def _new_connections(self) -> int:
        # By the time a later request is answered, the earlier ones are in the log.
        self.admin.must("GET", "/version")
        log = (self.directory / "kube-apiserver.log").read_text(errors="replace")
        own = (USER_AGENT, *(f"{name}/" for name in programs.PACKAGES if name != "kubectl"))
        return len({client for agent, client in LOGGED_REQUEST.findall(log) if not agent.startswith(own)})

    async def requests_by(self, agent: str) -> list[str]:
        """Return each request that was answered to this user agent (its beginning), as its verb and target.

        As in `GET /api/v1/namespaces?limit=1`; the verb may be one of Kubernetes' own, such as LIST.
        """
        return await asyncio.to_thread(self._requests_by, agent)

    def _requests_by(self, agent: str) -> list[str]:
        self.admin.must("GET", "/version")
        log = (self.directory / "kube-apiserver.log").read_text(errors="replace")
        return [f"{verb} {target}" for verb, target, named in LOGGED_TARGET.findall(log) if named.startswith(agent)]

    async def token(self, *audiences: str, service_account: str = "demo/mcp", seconds: int = 3600) -> str:
        """Return a token for these audiences, in this order; without any: server, `k-mcp` and the cluster's own.

        Below 600 s, which the API server refuses, the token is a real one's claims with another expiry, signed here
        with the cluster's key; a negative number gives an expired one.
        """
        return await asyncio.to_thread(self._token, audiences, service_account, seconds)

    def _token(self, audiences: Sequence[str], service_account: str, seconds: int) -> str:
        namespace, name = service_account.split("/")
        wanted = list(audiences or (self.server, GATEWAY_AUDIENCE, ISSUER))
        spec = {"audiences": wanted, "expirationSeconds": max(seconds, SHORTEST_TOKEN)}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        token = str(self.admin.must("POST", path, review)["status"]["token"])
        if seconds >= SHORTEST_TOKEN:
            return token
        claims = jwt.decode(token, options={"verify_signature": False})
        expires = int(time.time()) + seconds
        issued = min(claims["iat"], expires - SHORTEST_TOKEN)
        return self.sign({**claims, "exp": expires, "iat": issued, "nbf": issued})

    def sign(
        self,
        claims: Mapping[str, object],
        headers: Mapping[str, object] | None = None,
        key: object = None,
        algorithm: str = "RS256",
    ) -> str:
        """Return a token of just these claims, valid or not, by default signed with the cluster's key and key id.

        `key` is a private key of the cryptography library, or bytes for HS256, HS384 and HS512; `none` takes no key.
        """
        merged = {"kid": self._signing_key.id} if headers is None else headers
        return pki.sign(claims, merged, self._signing_key.key if key is None else key, algorithm)

    def _start(self) -> None:
        super()._start()
        self.admin.apply(FIRST_OBJECTS)
        viewer, tls = self._token((), "demo/viewer", SHORTEST_TOKEN), client_context(self.ca_pem)
        pods = "/api/v1/namespaces/demo/pods"
        self.wait(
            "the last of the roles is in force",
            lambda: self.admin.request("GET", pods, token=viewer, tls=tls)[0] == 200,
            watch=("etcd", "kube-apiserver"),
        )
        if self.controllers:
            # Controllers give each namespace its root CA a moment after it was made; tests take it for granted.
            certificate = "/api/v1/namespaces/demo/configmaps/kube-root-ca.crt"
            self.wait(
                "the controllers work",
                lambda: self.admin.request("GET", certificate)[0] == 200,
                watch=("kube-apiserver", "kube-controller-manager"),
            )
