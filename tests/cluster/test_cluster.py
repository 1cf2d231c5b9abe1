"""The control planes that other tests stand on, held to what those take for granted."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest

from .admin import ApiRefusedError, api_requests, client_context
from .cluster import RealCluster
from .controlplane import ISSUER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

WIDGETS = """
apiVersion: example.test/v1
kind: Widget
metadata: {name: first, namespace: made}
spec: {size: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.test}
spec:
  group: example.test
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: v1
kind: Namespace
metadata: {name: made}
"""


async def test_audiences_keep_their_order(real_cluster: RealCluster) -> None:
    """A token names the audiences asked for in the order asked for, and by default server, gateway and cluster."""
    given = await real_cluster.token("https://b.test", "https://a.test", "c")
    usual = await real_cluster.token()
    assert _claims(given)["aud"] == ["https://b.test", "https://a.test", "c"]
    assert _claims(usual)["aud"] == [real_cluster.server, "k-mcp", ISSUER]


async def test_two_clusters_share_the_issuer_and_nothing_else(real_clusters: tuple[RealCluster, RealCluster]) -> None:
    """East and west give one issuer and subject, and neither takes the other's token or certificate."""
    east, west = real_clusters
    token = await east.token()
    other = await west.token()
    assert [_claims(token)[name] for name in ("iss", "sub")] == [_claims(other)[name] for name in ("iss", "sub")]
    assert jwt.get_unverified_header(token)["kid"] != jwt.get_unverified_header(other)["kid"]
    assert (await east.request("GET", "/api/v1/namespaces", token=token))[0] == 200
    assert (await west.request("GET", "/api/v1/namespaces", token=token))[0] == 401
    with pytest.raises(ssl.SSLCertVerificationError):
        west.admin.request("GET", "/readyz", tls=client_context(east.ca_pem))


async def test_signed_tokens_are_as_good_as_their_claims(real_cluster: RealCluster) -> None:
    """The API server takes a token signed here like its own, unless it is expired or signed otherwise."""
    path = "/api/v1/namespaces/demo/configmaps"
    claims = _claims(await real_cluster.token())
    tokens = {
        "short": await real_cluster.token(seconds=60),
        "again": real_cluster.sign(claims),
        "expired": await real_cluster.token(seconds=-60),
        "none": real_cluster.sign(claims, algorithm="none"),
        "hmac": real_cluster.sign(claims, key=b"secret" * 8, algorithm="HS256"),
    }
    answers = {name: (await real_cluster.request("GET", path, token=token))[0] for name, token in tokens.items()}
    assert answers == {"short": 200, "again": 200, "expired": 401, "none": 401, "hmac": 401}


async def test_the_viewer_sees_one_namespace(real_cluster: RealCluster) -> None:
    """The viewer reads in `demo`, and neither elsewhere nor Secrets."""
    token = await real_cluster.token(service_account="demo/viewer")
    paths = ("/api/v1/namespaces/demo/pods", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/demo/secrets")
    assert [(await real_cluster.request("GET", path, token=token))[0] for path in paths] == [200, 403, 403]


async def test_apply_finds_the_order(real_cluster: RealCluster) -> None:
    """Documents are applied though a kind and a namespace they need come after them; what is refused is told."""
    await real_cluster.apply(WIDGETS)
    status, _ = await real_cluster.request("GET", "/apis/example.test/v1/namespaces/made/widgets/first")
    assert status == 200
    with pytest.raises(ApiRefusedError, match="Pod bad: 422"):
        await real_cluster.apply("{apiVersion: v1, kind: Pod, metadata: {name: bad}, spec: {containers: []}}")


async def test_requests_and_connections_are_counted(real_cluster: RealCluster) -> None:
    """Three requests on two connections count as three and two, and those of the administrator as none."""
    token = await real_cluster.token()
    labels = {"verb": "LIST", "resource": "configmaps", "scope": "namespace", "code": "200"}
    requests = api_requests(await real_cluster.metrics(), **labels)
    connections = await real_cluster.new_connections()
    with _connected(real_cluster) as first:
        with _connected(real_cluster) as second:
            for connection in (first, second, first):
                path = "/api/v1/namespaces/demo/configmaps"
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                assert connection.getresponse().read()
        assert api_requests(await real_cluster.metrics(), **labels) == requests + 3
        assert await real_cluster.new_connections() == connections + 2


async def test_a_killed_api_server_comes_back(fresh_cluster: RealCluster) -> None:
    """After a kill nothing listens on the port; started again it has its objects and takes the old tokens."""
    token = await fresh_cluster.token()
    await fresh_cluster.kill_apiserver()
    with pytest.raises(ConnectionRefusedError):
        await fresh_cluster.request("GET", "/readyz")
    await fresh_cluster.start_apiserver("--max-requests-inflight=17")
    assert (await fresh_cluster.request("GET", "/api/v1/namespaces/demo", token=token))[0] == 200


async def test_keys_and_ca_rotate(fresh_cluster: RealCluster) -> None:
    """A new signing key spares old tokens while the old key is trusted, and a new CA is not the old one."""
    path = "/api/v1/namespaces/demo"
    first = await fresh_cluster.token()
    await fresh_cluster.rotate_signing_key(keep_old=True)
    second = await fresh_cluster.token()
    assert [(await fresh_cluster.request("GET", path, token=token))[0] for token in (first, second)] == [200, 200]
    await fresh_cluster.rotate_signing_key(keep_old=False)
    assert [(await fresh_cluster.request("GET", path, token=token))[0] for token in (first, second)] == [401, 401]
    old = fresh_cluster.ca_pem
    await fresh_cluster.rotate_ca()
    assert fresh_cluster.ca_file.read_bytes() == fresh_cluster.ca_pem != old
    with pytest.raises(ssl.SSLCertVerificationError):
        fresh_cluster.admin.request("GET", "/readyz", tls=client_context(old))


async def test_controllers_work(real_clusters: tuple[RealCluster, RealCluster]) -> None:
    """Controllers are at work: a Deployment gets a ReplicaSet and a Pod."""
    _, west = real_clusters
    if not west.controllers:
        pytest.skip("KUBEBUILDER_ASSETS has no controllers")
    await west.apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "local.test/busybox:1"}]}
""")
    pods = west.admin.request, "/api/v1/namespaces/demo/pods"
    west.wait(
        "a pod is there", lambda: b'"app":"web"' in pods[0]("GET", pods[1])[1], watch=("kube-controller-manager",)
    )


@pytest.mark.usefixtures("api_server_programs")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_run(how: signal.Signals) -> None:
    """Killed or interrupted: when the keeper is gone its programs, ports and files are too."""
    command = [sys.executable, "-m", "tests.cluster", "up", "aborted", "--no-controllers"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        told = dict(process.stdout.readline().strip().split(": ") for _ in range(4))
        folder = Path(told["ca"]).parent
        assert folder.exists()
        process.send_signal(how)
        # The keeper has the other end of this pipe too: it closes when the keeper has ended everything.
        assert process.stderr.read() == ""
    assert not folder.exists()
    address = urlsplit(told["server"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))
    assert not _processes_mentioning(str(folder))


def _connected(cluster: RealCluster) -> contextlib.closing[http.client.HTTPSConnection]:
    address = urlsplit(cluster.server)
    assert address.hostname
    context = client_context(cluster.ca_pem)
    return contextlib.closing(http.client.HTTPSConnection(address.hostname, address.port, timeout=30, context=context))


def _claims(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _processes_mentioning(text: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if text in line and str(os.getpid()) not in line.split()]
