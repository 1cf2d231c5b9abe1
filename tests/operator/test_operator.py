import os
import time
from pathlib import Path

import jwt
import pytest
import yaml

from gateway.errors import GatewayError
from gateway.kube.errors import Forbidden, InvalidToken, NotFound
from gateway.operator.kubeconfig import KubeconfigError, read_context, read_contexts
from gateway.operator.server import connected
from gateway.operator.tokens import default_audience, mint
from tests.cluster.cluster import RealCluster
from tests.operator.kubeconfigs import certificate, kubeconfig, plugin

ISSUER = "https://kubernetes.default.svc"


async def test_each_way_to_sign_in_mints_a_token_with_audiences_in_order(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Client certificate, token, token file and plugin (token or certificate) all lead to the wanted token."""
    token = await real_cluster.token(ISSUER)
    (tmp_path / "token").write_text(token + "\n")
    for name in ("plugin", "certified"):
        (tmp_path / name).mkdir()
    pair = {
        "clientCertificateData": (real_cluster.directory / "admin.crt").read_text(),
        "clientKeyData": (real_cluster.directory / "admin.key").read_text(),
    }
    users = {
        "certificate": certificate(real_cluster),
        "token": {"token": token},
        "file": {"tokenFile": "token"},
        "plugin": plugin(tmp_path, {"token": token}),
        "certified": plugin(tmp_path / "certified", pair),
    }
    users["certified"]["exec"]["command"] = "certified/sign-in"
    file = kubeconfig(tmp_path / "config", {name: (real_cluster, user) for name, user in users.items()})
    audiences = [real_cluster.server, "k-mcp", ISSUER]
    for name in users:
        minted = await mint(read_context(file, name), "demo/viewer", audiences, 3600)
        claims = jwt.decode(minted.token, options={"verify_signature": False})
        assert (claims["aud"], claims["sub"]) == (audiences, "system:serviceaccount:demo:viewer"), name
        assert (minted.expires_at, minted.shortened) == (claims["exp"], False)
        assert 3500 < minted.expires_at - time.time() <= 3600
        assert minted.token not in repr(minted)


async def test_the_clusters_own_audience_is_what_a_token_without_any_gets(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """It is asked about the first service account there is, and unknown where there is none."""
    file = kubeconfig(tmp_path / "config", {"east": (real_cluster, certificate(real_cluster))})
    async with connected(read_context(file)) as server:
        assert await default_audience(server, "demo/nobody", "demo/viewer") == ISSUER
        assert await default_audience(server, "demo/nobody") is None


async def test_what_the_cluster_refuses_is_said_in_one_sentence(real_cluster: RealCluster, tmp_path: Path) -> None:
    """A missing account, a missing right, a bad credential and an API server that is away each have their own words."""
    viewer = await real_cluster.token(ISSUER, service_account="demo/viewer")
    users = {"admin": certificate(real_cluster), "viewer": {"token": viewer}, "nobody": {"token": "none"}}
    file = kubeconfig(tmp_path / "config", {name: (real_cluster, user) for name, user in users.items()})

    async def refused(context: str, account: str = "demo/mcp") -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await mint(read_context(file, context), account, ["a"], 600)
        assert "\n" not in caught.value.message
        return caught.value

    error = await refused("admin", "demo/gone")
    assert isinstance(error, NotFound)
    assert error.message == "There is no service account demo/gone on context 'admin'."
    error = await refused("viewer")
    assert isinstance(error, Forbidden)
    assert "create on serviceaccounts/token" in error.message
    assert isinstance(await refused("nobody"), InvalidToken)
    document = yaml.safe_load(file.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file.write_text(yaml.safe_dump(document))
    assert "https://127.0.0.1:1 can't be asked: no connection" in (await refused("admin")).message


async def test_a_sign_in_program_that_fails_is_quoted(real_cluster: RealCluster, tmp_path: Path) -> None:
    """A program that fails, answers nothing of use, or is missing says so with its own words or installHint."""
    file = tmp_path / "config"

    async def said(user: dict[str, object]) -> str:
        with pytest.raises(KubeconfigError) as caught:
            await mint(read_context(kubeconfig(file, {"east": (real_cluster, user)})), "demo/mcp", ["a"], 600)
        return caught.value.message

    assert "failed (status 3): run login first" in await said(plugin(tmp_path, {}, say="run login\n first\n", end=3))
    assert "answered no ExecCredential with a token" in await said(plugin(tmp_path, {}))
    missing = plugin(tmp_path, {})
    missing["exec"] |= {"command": "no-such-program", "installHint": "Install it\n from example.com."}
    assert "can't be run: No such file or directory. Install it from example.com." in await said(missing)


def test_files_of_kubeconfig_are_merged_as_kubectl_merges_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file that has an entry or a current context counts; missing files are passed over."""

    def written(name: str, current: str, server: str, contexts: tuple[str, ...]) -> str:
        (tmp_path / name).write_text(
            yaml.safe_dump(
                {
                    "current-context": current,
                    "clusters": [{"name": "c", "cluster": {"server": server}}],
                    "contexts": [{"name": name, "context": {"cluster": "c"}} for name in contexts],
                }
            )
        )
        return str(tmp_path / name)

    first = written("first", "one", "https://first.example/", ("one",))
    second = written("second", "two", "https://second.example", ("one", "two"))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "missing"), first, second]))
    assert (read_context().name, read_context().server) == ("one", "https://first.example")
    assert read_context(None, "two").server == "https://first.example"
    assert [context.name for context in read_contexts()] == ["one", "two"]
    assert read_context(Path(second)).server == "https://second.example"


def test_a_kubeconfig_that_can_not_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no such context, no context at all, no YAML and a user who is not there are each told apart."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config"

    def said(text: str | None, context: str | None = None) -> str:
        if text is not None:
            file.write_text(text)
        with pytest.raises(KubeconfigError) as caught:
            read_context(None if text is None else file, context)
        assert "\n" not in caught.value.message
        return caught.value.message

    assert said(None) == (
        f"No kubeconfig: there is no file {tmp_path}/.kube/config. Give one with --kubeconfig FILE or the variable "
        "KUBECONFIG."
    )
    contexts = "contexts: [{name: east, context: {cluster: c, user: u}}]\n"
    assert said(contexts, "west") == f"{file} has no context 'west'. It has: east."
    assert "has no current context; name one with --context. It has: east." in said(contexts)
    assert "names no cluster that has a server" in said(contexts, "east")
    cluster = contexts + "clusters: [{name: c, cluster: {server: https://c.example}}]\n"
    assert "names a user that is not there: u" in said(cluster, "east")
    assert "is not YAML (line 1)" in said("a: ]")
    assert "holds no keys and values" in said("- a")
