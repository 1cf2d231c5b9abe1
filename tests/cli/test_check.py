"""`check` as an operator runs it: real API servers, broken certificates, and tokens that are wrong in one way each."""

import asyncio
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.doctor import examined
from gateway.settings import load_settings
from tests.cluster import pki
from tests.cluster.cluster import RealCluster

ISSUER = "https://kubernetes.default.svc"


async def check(folder: Path, *tokens: str) -> list[dict[str, Any]]:
    """Examine this folder's settings and these tokens, and return what `--output json` prints."""
    return [asdict(report) for report in await examined(load_settings(folder / "gateway.yaml"), tokens)]


def command(
    folder: Path, *words: str, given: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `check` as a shell would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    return subprocess.run(
        [sys.executable, "-c", "from gateway.cli import main; main()", "check", "--config", "gateway.yaml", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        input=given,
        env=kept | environment,
    )


def listed(folder: Path, *clusters: Mapping[str, Any]) -> None:
    """Write the settings."""
    (folder / "gateway.yaml").write_text(yaml.safe_dump({"clusters": [dict(cluster) for cluster in clusters]}))


def entry(cluster: RealCluster, **more: Any) -> dict[str, Any]:
    """Return a cluster's entry."""
    return {
        "name": cluster.name,
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca_file),
        "defaultAudience": ISSUER,
        **more,
    }


def statuses(report: Mapping[str, Any]) -> dict[str, str]:
    """Return each check's status."""
    return {finding["check"]: finding["status"] for finding in report["findings"]}


def detail(report: Mapping[str, Any], check_name: str) -> str:
    """Return what a check found."""
    (found,) = [finding["detail"] for finding in report["findings"] if finding["check"] == check_name]
    assert isinstance(found, str)
    return found


@asynccontextmanager
async def tls_server(folder: Path, pair: pki.Pair) -> AsyncIterator[str]:
    """Show a certificate to whoever connects; give the URL."""
    (folder / "server.pem").write_bytes(pair.certificate + pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_all_is_well_with_a_viewer_and_said_in_one_line(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Version, keys, discovery and each claim are there; no colour goes to what is no terminal; the status is 0."""
    listed(tmp_path, entry(real_cluster))
    token = await real_cluster.token(service_account="demo/viewer")
    (report,) = await check(tmp_path, token)
    assert set(statuses(report).values()) == {"ok"}
    assert {"dns", "tcp", "ca", "tls", "version", "latency", "keys", "discovery", "default audience"} <= set(
        statuses(report)
    )
    assert detail(report, "token accepted") == "system:serviceaccount:demo:viewer"
    assert detail(report, "token aud") == f"{real_cluster.server}, k-mcp, {ISSUER}"
    shown = await asyncio.to_thread(command, tmp_path, "--token-file", "-", given=token)
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[1].startswith("✓ east  v1.")
    assert "\x1b" not in shown.stdout
    assert token not in shown.stdout


async def test_a_role_wider_than_the_policy_is_found(real_cluster: RealCluster, tmp_path: Path) -> None:
    """An administrator's token may do what the policy hides; what the policy allows as well is not named."""
    policy = {"writes": ["apply"], "namespaces": {"deny": ["kube-system"]}}
    listed(tmp_path, entry(real_cluster, policy=policy))
    (tmp_path / "token").write_text(await real_cluster.token())
    ended = await asyncio.to_thread(command, tmp_path, "--token-file", "token", "--output", "json")
    assert ended.returncode == 1
    (report,) = json.loads(ended.stdout)
    found = detail(report, "rbac")
    for words in (
        "read Secrets",
        "impersonate users",
        "run commands in pods",
        "delete pods",
        "see namespace kube-system",
    ):
        assert words in found
    assert "change deployments" not in found.replace("change deployments in kube-system", "")


@pytest.mark.parametrize(
    ("audiences", "check_name", "said"),
    [
        (("k-mcp", "SERVER", ISSUER), "token aud", "The order is wrong."),
        (("SERVER", ISSUER, "k-mcp"), "token aud", "The order is wrong."),
        (("SERVER", "k-mcp"), "token aud", "not a list of exactly three audiences"),
        (("SERVER", "other", ISSUER), "token aud", "second audience is not k-mcp"),
        (("SERVER", "k-mcp", "other"), "token aud", f"third audience is not {ISSUER}"),
    ],
)
async def test_wrong_audiences_are_told_with_the_right_ones(
    real_cluster: RealCluster, tmp_path: Path, audiences: tuple[str, ...], check_name: str, said: str
) -> None:
    """Each mistake says what it is and how to mint a right token; the cluster is asked nothing with the wrong one."""
    listed(tmp_path, entry(real_cluster))
    token = await real_cluster.token(*(one.replace("SERVER", real_cluster.server) for one in audiences))
    (report,) = await check(tmp_path, token)
    assert said in detail(report, check_name)
    assert "Mint one with: kube-mcp-gateway token east" in detail(report, check_name)
    assert "token accepted" not in statuses(report)


async def test_a_token_the_cluster_refuses_or_that_expired_is_told(real_cluster: RealCluster, tmp_path: Path) -> None:
    """A third audience nobody knows, an expiry in the past, and a token for nobody's cluster differ."""
    listed(tmp_path, {key: value for key, value in entry(real_cluster).items() if key != "defaultAudience"})
    tokens = {
        "third": await real_cluster.token(real_cluster.server, "k-mcp", "other"),
        "expired": await real_cluster.token(seconds=-60),
        "stranger": await real_cluster.token("https://nowhere.example", "k-mcp", ISSUER),
    }
    seen = {}
    for name, token in tokens.items():
        seen[name] = await check(tmp_path, token)
    assert "its third audience is not this cluster's own" in detail(seen["third"][0], "token accepted")
    assert detail(seen["third"][0], "default audience").startswith("not in the settings")
    assert detail(seen["expired"][0], "token exp").startswith("expired ")
    assert "names no cluster of these settings" in detail(seen["stranger"][1], "token aud")


async def test_certificates_that_expired_or_are_for_another_name_are_told_apart(tmp_path: Path) -> None:
    """An expired certificate, another name's and another CA's each say what is there, and what to do."""
    authority, other = pki.new_authority("good"), pki.new_authority("other")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "other.crt").write_bytes(other.pem)
    now = datetime.datetime.now(datetime.UTC)
    pairs = {
        "expired": authority.serving("s", ["127.0.0.1"], until=now - datetime.timedelta(days=1)),
        "soon": authority.serving("s", ["127.0.0.1"], until=now + datetime.timedelta(days=3)),
        "named": authority.serving("s", ["api.example"]),
        "foreign": authority.serving("s", ["127.0.0.1"]),
    }
    reports = {}
    for name, pair in pairs.items():
        async with tls_server(tmp_path, pair) as url:
            ca = "other.crt" if name == "foreign" else "ca.crt"
            listed(tmp_path, {"name": name, "server": url, "certificateAuthority": ca})
            (reports[name],) = await check(tmp_path)
    assert detail(reports["expired"], "tls").startswith(
        "certificate has expired; the certificate is for 127.0.0.1, expired 2"
    )
    assert statuses(reports["soon"])["tls"] == "warn"
    assert "for api.example" in detail(reports["named"], "tls")
    assert "Set tlsServerName" in detail(reports["named"], "tls")
    assert "is not the one that signed it" in detail(reports["foreign"], "tls")


async def test_a_dead_cluster_slows_no_other_line(real_cluster: RealCluster, tmp_path: Path) -> None:
    """What answers is shown at once, while one that says nothing is waited for; refused and unknown names are told."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        listed(
            tmp_path,
            {"name": "silent", "server": server, "limits": {"connectSeconds": 20}},
            {"name": "closed", "server": "https://127.0.0.1:1"},
            {"name": "nowhere", "server": "https://nowhere.invalid"},
            entry(real_cluster),
        )
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from gateway.cli import main; main()", "check", "--config", str(tmp_path / "gateway.yaml")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert running.stdout is not None
        try:
            text = b""
            async with asyncio.timeout(60):
                while not re.search(r"✓ east +v1\.", text.decode()):
                    line = await running.stdout.readline()
                    assert line, text
                    text += line
            assert "silent" not in text.decode()
        finally:
            running.kill()
            rest, _ = await running.communicate()
    shown = text.decode() + rest.decode()
    assert "127.0.0.1:1 takes no connection" in shown
    assert "nowhere.invalid has no address" in shown


def test_settings_with_mistakes_are_told_before_anybody_is_dialled(tmp_path: Path) -> None:
    """A typo ends it with status 2 and names the place; so does a token file that is not there."""
    (tmp_path / "gateway.yaml").write_text("clusters: [{nam: east, server: 'https://east.example'}]\n")
    ended = command(tmp_path)
    assert ended.returncode == 2
    assert "did you mean name?" in ended.stderr
    listed(tmp_path, {"name": "east", "server": "https://127.0.0.1:1"})
    assert "token file gone can't be read" in command(tmp_path, "--token-file", "gone").stderr
