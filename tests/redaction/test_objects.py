import copy
from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.demo.world import start_world
from gateway.redaction.masks import BEGINNING, numbered
from gateway.redaction.objects import without_credentials
from gateway.redaction.text import redacted
from tests.cluster.cluster import RealCluster
from tests.redaction.credentials import CREDENTIALS, SERVICE_ACCOUNT, leaked, pem

SECRET = "[redacted: secret]"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from(list(CREDENTIALS.values())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text() | st.sampled_from(["password", "name", "value", "token", "data"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}, {"env": [{"name": "DB_PASSWORD", "value": SECRET}]}),
        (
            {"httpHeaders": [{"name": "X-Api-Key", "value": "a"}]},
            {"httpHeaders": [{"name": "X-Api-Key", "value": SECRET}]},
        ),
        ({"args": ["--db-password", "hunter2", "-v"]}, {"args": ["--db-password", SECRET, "-v"]}),
        ({"args": ["--db-password=hunter2"]}, {"args": [f"--db-password={SECRET}"]}),
        ({"passwords": ["a1", "b2"]}, {"passwords": [SECRET, SECRET]}),
        ({"db.password": "correct horse battery staple"}, {"db.password": SECRET}),
        ({"client_secret": "two\nlines\n"}, {"client_secret": SECRET}),
        ({"token": CREDENTIALS["github token"]}, {"token": "[redacted: github-token]"}),
        ({"dbPassword": "a\\b"}, {"dbPassword": SECRET}),
        (
            {"secrets.properties": "user=shop\ndb.password=correct horse\n"},
            {"secrets.properties": f"user=shop\ndb.password={SECRET}\n"},
        ),
        ({"config.yaml": "db:\n  password: correct horse\n"}, {"config.yaml": f"db:\n  password: {SECRET}\n"}),
        ({"url": CREDENTIALS["redis url"]}, {"url": "redis://:[redacted: url-password]@cache:6379/0"}),
        ({"example.com/api-token": "abc"}, {"example.com/api-token": SECRET}),
    ],
)
def test_values_are_masked_by_what_they_are_called(given: dict[str, Any], shown: dict[str, Any]) -> None:
    """By their key, their variable, their flag; and what was given is not changed."""
    before = copy.deepcopy(given)
    assert without_credentials(given) == shown
    assert given == before


@pytest.mark.parametrize(
    "document",
    [
        {"volumes": [{"name": "tls", "secret": {"secretName": "shop-tls", "defaultMode": 420}}]},
        {"projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}},
        {"imagePullSecrets": [{"name": "regcred"}], "automountServiceAccountToken": True},
        {"env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]},
        {"tolerations": [{"key": "dedicated", "value": "tokens", "effect": "NoSchedule"}]},
        {"privateKeySecretRef": {"name": "letsencrypt"}, "secretName": "tls", "tokenPath": "/var/run/token"},
        {"csi.storage.k8s.io/provisioner-secret-name": "ceph", "csi.storage.k8s.io/provisioner-secret-namespace": "x"},
        {"annotations": {"cert-manager.io/private-key-algorithm": "RSA", "eks.example.com/token-expiration": "86400"}},
        {"image": "registry.example/token-service@sha256:" + "ab" * 32, "uid": "3f6c1d2e-8a7b-4c5d-9e0f-1a2b3c4d5e6f"},
        {"webhooks": [{"clientConfig": {"caBundle": b64encode(b"-----BEGIN CERTIFICATE-----\nMIIC" * 20).decode()}}]},
        {"binaryData": {"logo.png": b64encode(bytes(range(256))).decode()}},
        {"args": ["--token-ttl", "24h", "--service-account-private-key-file", "/etc/kubernetes/pki/sa.key"]},
    ],
)
def test_what_refers_to_credentials_is_left_as_it_is(document: dict[str, Any]) -> None:
    """Names of Secrets, keys in them, paths, digests and CA bundles: the very same object comes back."""
    assert without_credentials(document) is document
    assert BEGINNING not in redacted(orjson.dumps(document).decode())


def test_binary_data_is_looked_at_decoded() -> None:
    """A key in a ConfigMap's `binaryData` is masked as a whole, and so is a value that its name calls a credential."""
    data = {
        "id_rsa": b64encode(pem("RSA ").encode()).decode(),
        "token": b64encode(b"abc").decode(),
        "account.json": b64encode(orjson.dumps(SERVICE_ACCOUNT)).decode(),
        "logo.png": b64encode(b"\x89PNG").decode(),
    }
    shown = without_credentials({"kind": "ConfigMap", "binaryData": data})["binaryData"]
    assert shown == {**dict.fromkeys(data, "[redacted: encoded]"), "logo.png": data["logo.png"]}


def test_a_file_in_a_file_keeps_what_is_no_credential() -> None:
    """Of a service account's key the id, the project and the address stay."""
    shown = without_credentials({"data": {"key.json": orjson.dumps(SERVICE_ACCOUNT).decode()}})["data"]["key.json"]
    assert orjson.loads(shown) == {**SERVICE_ACCOUNT, "private_key": "[redacted: private-key]\n"}


def test_numbers_show_which_credential_changes() -> None:
    """Two states of an object, masked alike, differ where their credentials do."""
    mask = numbered()
    old = without_credentials({"a": {"password": "one"}, "b": {"password": "two"}}, mask=mask)
    new = without_credentials({"a": {"password": "one"}, "b": {"password": "three"}}, mask=mask)
    assert old["a"] == new["a"]
    assert old["b"] != new["b"]


@settings(max_examples=40, deadline=None)
@given(JSON)
def test_json_stays_json_whatever_is_in_it(value: Any) -> None:
    """Masked as an object, and once more as text, it can be read, and holds no credential of a known form."""
    shown = without_credentials({"kind": "X", "spec": value})
    text = redacted(orjson.dumps(shown).decode())
    orjson.loads(text)
    assert not [part for part in leaked(text) if "hunter" not in part]
    assert redacted(text) == text


async def _objects(request: Any) -> list[dict[str, Any]]:
    roots = ["/api/v1"]
    groups = orjson.loads((await request("GET", "/apis"))[1])["groups"]
    roots += [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups]
    found: list[dict[str, Any]] = []
    for root in roots:
        status, body = await request("GET", root)
        for resource in orjson.loads(body)["resources"] if status == 200 else ():
            if "list" in resource["verbs"] and "/" not in resource["name"] and resource["name"] != "secrets":
                status, body = await request("GET", f"{root}/{resource['name']}")
                found += (orjson.loads(body).get("items") or []) if status == 200 else []
    return found


def _masked(objects: list[dict[str, Any]]) -> list[Any]:
    return [each for each in objects if without_credentials(each) is not each or BEGINNING in redacted(str(each))]


async def test_nothing_of_the_demo_clusters_is_masked() -> None:
    """Three hundred objects of every kind, without a credential: an agent reads them as they are."""
    for cluster in await start_world():
        objects = await _objects(cluster.request)
        await cluster.stop()
        assert len(objects) > 100
        assert not _masked(objects)


async def test_nothing_of_a_real_control_plane_is_masked(real_cluster: RealCluster) -> None:
    """Roles, flow schemas, leases, CA bundles and all that a new cluster has; but no pods of other tests."""
    objects = [each for each in await _objects(real_cluster.request) if _is_own(each)]
    assert len(objects) > 50
    assert not _masked(objects)


def _is_own(item: dict[str, Any]) -> bool:
    return str(item["metadata"].get("namespace", "kube-system")).startswith(("kube-", "default"))
