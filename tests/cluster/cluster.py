"""Boundary to a real control plane: etcd, kube-apiserver and, mostly, controllers, on free ports of the loopback.

All clusters share one issuer string and default audience, as all kind clusters do; their CAs and signing keys differ.
"""

import asyncio
import contextlib
import json
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import jwt

from . import pki, programs, sockets
from .admin import Admin, ApiRefusedError, client_context
from .keeper import Keeper

HOST = "127.0.0.1"
ISSUER = "https://kubernetes.default.svc"
GATEWAY_AUDIENCE = "k-mcp"
# Below what is handed out to outgoing connections, so that none takes a port between our look and our use.
PORTS = range(20000, 32000)
START_SECONDS = 60.0
SHORTEST_TOKEN = 600
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


class RealCluster:
    """One control plane. `with` or `async with` starts it and ends it; so do `up` and `down`.

    The coroutines may be called from any event loop: a cluster belongs to none.
    """

    def __init__(self, name: str, *, controllers: bool = True, apiserver_flags: Sequence[str] = ()) -> None:
        """Make the keys; nothing is started yet."""
        self.name = name
        self.controllers = controllers
        self._flags = tuple(apiserver_flags)
        self._ports = dict(zip(("api", "etcd", "peer", "controller", "scheduler"), _free_ports(5), strict=True))
        self.server = f"https://{HOST}:{self._ports['api']}"
        # Certificates of clients come from a CA of their own, which stays when that of the server changes.
        self._client_authority = pki.new_authority(f"{name}-clients")
        self._authority = pki.new_authority(f"{name}-ca")
        self._signing_key = pki.new_signing_key()
        self._trusted_keys = [self._signing_key]
        self._own_ports: set[int] = set()
        self._other_ports: set[int] = set()

    @property
    def ca_pem(self) -> bytes:
        """The CA of the server's certificate, PEM."""
        return self._authority.pem

    @property
    def ca_file(self) -> Path:
        """A file with `ca_pem`."""
        return self.directory / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with the administrator's client certificate."""
        return self.directory / "admin.kubeconfig"

    # Lifetime

    def up(self) -> None:
        """Start everything and wait until it answers (some 4 s); on failure end what was started.

        Raises:
            ProgramsMissingError: programs can't be built here.
            ProgramFailedError: one of them ended at once; the text has its log.

        """
        names = (*programs.API_SERVER, *(programs.CONTROLLERS if self.controllers else ()))
        self.programs = programs.find(*names)
        self.directory = Path(tempfile.mkdtemp(prefix=f"kube-mcp-gateway-{self.name}-"))
        self.keeper = self._new_keeper()
        try:
            self._start()
        except BaseException:
            self.keeper.end()
            raise

    def down(self) -> None:
        """End everything that was started, and remove its files."""
        self.keeper.end()

    def __enter__(self) -> Self:
        """Start the cluster."""
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the cluster."""
        self.down()

    async def __aenter__(self) -> Self:
        """Start the cluster without holding up the event loop."""
        await asyncio.to_thread(self.up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the cluster."""
        await asyncio.to_thread(self.down)

    def _new_keeper(self) -> Keeper:
        return Keeper(self.directory)

    def _start(self) -> None:
        self._write_client("admin", "kubernetes-admin", "system:masters")
        self._write_client("controller", "system:kube-controller-manager")
        self._write_client("scheduler", "system:kube-scheduler")
        self.write("clients.crt", self._client_authority.pem)
        self._write_server_files()
        etcd, peer = (f"http://{HOST}:{self._ports[name]}" for name in ("etcd", "peer"))
        self.keeper.start(
            "etcd",
            [
                self.programs["etcd"],
                f"--name={self.name}",
                f"--data-dir={self.directory / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster={self.name}={peer}",
                "--unsafe-no-fsync",
                "--log-level=error",
            ],
        )
        self._start_apiserver(self._flags)
        self._start_controllers()
        self.admin.apply(FIRST_OBJECTS)
        viewer, tls = self._token((), "demo/viewer", SHORTEST_TOKEN), client_context(self.ca_pem)
        pods = "/api/v1/namespaces/demo/pods"
        self.wait(
            "the last of the roles is in force",
            lambda: self.admin.request("GET", pods, token=viewer, tls=tls)[0] == 200,
            watch=("etcd", "kube-apiserver"),
        )

    def _start_apiserver(self, flags: Sequence[str]) -> None:
        keys = [self.write(f"signer-{number}.pub", key.public_pem) for number, key in enumerate(self._trusted_keys)]
        self.keeper.start(
            "kube-apiserver",
            [
                self.programs["kube-apiserver"],
                f"--etcd-servers=http://{HOST}:{self._ports['etcd']}",
                f"--bind-address={HOST}",
                f"--advertise-address={HOST}",
                f"--secure-port={self._ports['api']}",
                "--endpoint-reconciler-type=none",
                f"--tls-cert-file={self.directory / 'server.crt'}",
                f"--tls-private-key-file={self.directory / 'server.key'}",
                f"--client-ca-file={self.directory / 'clients.crt'}",
                f"--service-account-issuer={ISSUER}",
                f"--api-audiences={ISSUER}",
                f"--service-account-signing-key-file={self.directory / 'signer.key'}",
                *(f"--service-account-key-file={key}" for key in keys),
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--allow-privileged",
                # Pods are made without waiting for a controller to give their namespace a service account.
                "--disable-admission-plugins=ServiceAccount",
                f"--kubelet-client-certificate={self.directory / 'admin.crt'}",
                f"--kubelet-client-key={self.directory / 'admin.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                *flags,
            ],
        )
        tls = client_context(self.ca_pem, self.directory / "admin.crt", self.directory / "admin.key")
        self.admin = Admin(self.server, tls, self._own_ports)
        self.wait("the API server is ready", self._is_ready, watch=("etcd", "kube-apiserver"))

    def _is_ready(self) -> bool:
        try:
            return self.admin.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _start_controllers(self) -> None:
        if not self.controllers:
            return
        self.keeper.start(
            "kube-controller-manager",
            [
                self.programs["kube-controller-manager"],
                f"--kubeconfig={self.directory / 'controller.kubeconfig'}",
                f"--service-account-private-key-file={self.directory / 'signer.key'}",
                f"--root-ca-file={self.ca_file}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                f"--bind-address={HOST}",
                f"--secure-port={self._ports['controller']}",
            ],
        )
        self.keeper.start(
            "kube-scheduler",
            [
                self.programs["kube-scheduler"],
                f"--kubeconfig={self.directory / 'scheduler.kubeconfig'}",
                "--leader-elect=false",
                f"--bind-address={HOST}",
                f"--secure-port={self._ports['scheduler']}",
            ],
        )

    # Changes that tests make

    async def kill_apiserver(self) -> None:
        """Kill the API server as a crash would; its port is closed when this returns."""
        await asyncio.to_thread(self.keeper.kill, "kube-apiserver")

    async def start_apiserver(self, *flags: str) -> None:
        """Start the API server again, on the same port, with further flags, and wait until it is ready."""
        await asyncio.to_thread(self._start_apiserver, (*self._flags, *flags))

    async def rotate_ca(self) -> None:
        """Restart the API server with a certificate of a new CA, which is `ca_pem` from then on, and in `ca_file`."""
        self._authority = pki.new_authority(f"{self.name}-ca")
        await asyncio.to_thread(self._restart)

    async def rotate_signing_key(self, *, keep_old: bool) -> None:
        """Restart the API server with a new signing key; tokens signed with the old one stay good or not."""
        self._signing_key = pki.new_signing_key()
        self._trusted_keys = [self._signing_key, *(self._trusted_keys if keep_old else ())]
        await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        if self.controllers:
            self.keeper.kill("kube-scheduler")
            self.keeper.kill("kube-controller-manager")
        self.keeper.kill("kube-apiserver")
        self._write_server_files()
        self._start_apiserver(self._flags)
        self._start_controllers()

    # What tests ask of it

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
        """Return how many TCP connections were seen that neither the cluster's programs nor its administrator made.

        Linux alone. A connection that ended is seen for a minute: compare a count before with one soon after.
        """
        return await asyncio.to_thread(self._new_connections)

    def _new_connections(self) -> int:
        own = sockets.inodes_of(self.keeper.pids.values())
        for port, inode in sockets.clients_of(self._ports["api"]).items():
            (self._own_ports if inode in own else self._other_ports).add(port)
        return len(self._other_ports - self._own_ports)

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

    # Files and waiting, also for what is added to a cluster

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file into the cluster's folder, readable by its owner alone; return its path."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def wait(self, what: str, true: Callable[[], bool], watch: Sequence[str], seconds: float = START_SECONDS) -> None:
        """Wait until a condition is true, while these programs run.

        Raises:
            ProgramFailedError: one of them ended.
            TimeoutError: the time, in seconds, was not enough.

        """
        deadline = time.monotonic() + seconds
        while not true():
            for name in watch:
                self.keeper.check(name)
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.keeper.log(name)}" for name in watch)
                raise TimeoutError(f"not true after {seconds} s: {what}\n{logs}")
            time.sleep(0.05)

    def _write_server_files(self) -> None:
        self.write("ca.crt", self.ca_pem)
        pair = self._authority.serving("kube-apiserver", [HOST, "localhost", "kubernetes", "kubernetes.default.svc"])
        self.write("server.crt", pair.certificate)
        self.write("server.key", pair.key)
        self.write("signer.key", self._signing_key.private_pem)

    def _write_client(self, name: str, user: str, group: str | None = None) -> Path:
        pair = self._client_authority.client(user, group)
        certificate, key = self.write(f"{name}.crt", pair.certificate), self.write(f"{name}.key", pair.key)
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": cluster}],
            "users": [{"name": user, "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": user}}],
            "current-context": self.name,
        }
        return self.write(f"{name}.kubeconfig", json.dumps(config))


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, secrets.choice(PORTS)))
                found.append(probe.getsockname()[1])
    return found
