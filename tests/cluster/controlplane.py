"""Boundary to a real control plane: etcd, kube-apiserver and, mostly, controllers, on free ports of the loopback.

All clusters share one issuer string and default audience, as all kind clusters do; their CAs and signing keys differ.
"""

import asyncio
import contextlib
import datetime
import json
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from . import pki, programs
from .admin import Admin, client_context
from .keeper import Keeper

HOST = "127.0.0.1"
ISSUER = "https://kubernetes.default.svc"
# Below what is handed out to outgoing connections, so that none takes a port between our look and our use.
PORTS = range(20000, 32000)
START_SECONDS = 60.0


class ControlPlane:
    """The programs of one cluster, their ports, keys and files, and what a test may do to them."""

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
        self.programs = programs.find(*self._program_names())
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

    def _program_names(self) -> tuple[str, ...]:
        return (*programs.API_SERVER, *(programs.CONTROLLERS if self.controllers else ()))

    def _new_keeper(self) -> Keeper:
        return Keeper(self.directory)

    def _start(self) -> None:
        self.write_client("admin", "kubernetes-admin", "system:masters")
        self.write_client("controller", "system:kube-controller-manager")
        self.write_client("scheduler", "system:kube-scheduler")
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

    def _start_apiserver(self, flags: Sequence[str], *, verified: bool = True) -> None:
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
                "--authorization-mode=Node,RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--allow-privileged",
                # Pods are made without waiting for a controller to give their namespace a service account.
                "--disable-admission-plugins=ServiceAccount",
                f"--kubelet-client-certificate={self.directory / 'admin.crt'}",
                f"--kubelet-client-key={self.directory / 'admin.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                # One line a request, with the client's address: no metric counts connections.
                "--vmodule=httplog=3",
                *flags,
            ],
        )
        tls = client_context(self.ca_pem, self.directory / "admin.crt", self.directory / "admin.key")
        if not verified:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        self.admin = Admin(self.server, tls)
        self.wait("the API server is ready", self._is_ready, watch=("etcd", "kube-apiserver"))

    def _is_ready(self) -> bool:
        try:
            return self.admin.request("GET", "/readyz")[0] == HTTPStatus.OK
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

    async def renew_certificate(self, *, until: datetime.datetime | None = None) -> None:
        """Restart the API server with a certificate of the same CA that ends then.

        Where that was before, the requests that tests make themselves do not verify it.
        """
        await asyncio.to_thread(self._restart, until)

    def _restart(self, until: datetime.datetime | None = None) -> None:
        if self.controllers:
            self.keeper.kill("kube-scheduler")
            self.keeper.kill("kube-controller-manager")
        self.keeper.kill("kube-apiserver")
        self._write_server_files(until)
        self._start_apiserver(self._flags, verified=until is None)
        self._start_controllers()

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

    def _write_server_files(self, until: datetime.datetime | None = None) -> None:
        self.write("ca.crt", self.ca_pem)
        names = [HOST, "localhost", "kubernetes", "kubernetes.default.svc"]
        pair = self._authority.serving("kube-apiserver", names, until=until)
        self.write("server.crt", pair.certificate)
        self.write("server.key", pair.key)
        self.write("signer.key", self._signing_key.private_pem)

    def write_client(self, name: str, user: str, group: str | None = None) -> Path:
        """Write certificate, key and kubeconfig of a client of this name; return the kubeconfig's path."""
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
