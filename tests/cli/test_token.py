"""`token` as a shell or a client runs it, against a real API server."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml

from tests.cluster.cluster import RealCluster
from tests.operator.kubeconfigs import certificate, kubeconfig

pytestmark = pytest.mark.slow

ISSUER = "https://kubernetes.default.svc"
HEAVY = {"aiohttp", "hypercorn", "kubernetes_asyncio", "mcp", "pydantic_settings", "quart", "rich", "structlog"}


@pytest.fixture
def folder(tmp_path: Path, real_cluster: RealCluster) -> Path:
    """A folder with a kubeconfig (contexts `kind-east` and `other`) and settings that list `east` and `gone`."""
    contexts = {"other": (real_cluster, {"token": "none"}), "kind-east": (real_cluster, certificate(real_cluster))}
    file = kubeconfig(tmp_path / "config", contexts, current="kind-east")
    document = yaml.safe_load(file.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://other.example"
    file.write_text(yaml.safe_dump(document))
    east = {"name": "east", "server": real_cluster.server.upper().replace("HTTPS", "https") + "/"}
    gone = {"name": "gone", "server": "https://gone.example"}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({"audience": "agents", "clusters": [east, gone]}))
    return tmp_path


def token(folder: Path, *words: str, code: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run `token` with this folder's kubeconfig."""
    program = [sys.executable, "-c", f"from gateway.cli import main\ntry: main()\nfinally: {code}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    environment |= {"KUBECONFIG": str(folder / "config")}
    return subprocess.run(
        [*program, "token", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=folder,
    )


def claims(text: str) -> dict[str, Any]:
    """Read a token."""
    read: dict[str, Any] = jwt.decode(text.strip(), options={"verify_signature": False})
    return read


ACCOUNT = ("--service-account", "demo/viewer")


def test_a_listed_cluster_is_found_by_name_and_its_context_by_url(folder: Path, real_cluster: RealCluster) -> None:
    """The settings give the URL and the gateway's audience, the cluster its own; stdout holds the token alone."""
    minted = token(folder, "east", "--config", "gateway.yaml", *ACCOUNT)
    assert (minted.returncode, minted.stderr) == (0, "")
    assert claims(minted.stdout)["aud"] == [real_cluster.server, "agents", ISSUER]
    assert claims(minted.stdout)["exp"] - claims(minted.stdout)["iat"] == 24 * 3600


def test_without_settings_the_context_is_the_cluster(folder: Path, real_cluster: RealCluster) -> None:
    """The current context and k-mcp stand in for what the settings would say."""
    minted = token(folder, *ACCOUNT, "--duration", "1h", "--output", "header")
    header = json.loads(minted.stdout)
    assert list(header) == ["Authorization"]
    read = claims(header["Authorization"].removeprefix("Bearer "))
    assert read["aud"] == [real_cluster.server, "k-mcp", ISSUER]
    assert read["exp"] - read["iat"] == 3600


def test_a_client_that_waits_for_a_header_does_not_wait_for_what_serving_needs(folder: Path) -> None:
    """Minting imports none of the libraries that take long."""
    shown = "import sys; sys.stderr.write(repr(sorted({name.partition('.')[0] for name in sys.modules})))"
    minted = token(folder, "east", "--config", "gateway.yaml", *ACCOUNT, code=shown)
    loaded = set(eval(minted.stderr))  # noqa: S307
    assert minted.stdout
    assert "orjson" in loaded
    assert loaded & HEAVY == set()


async def test_a_lifetime_that_the_cluster_shortened_is_told(fresh_cluster: RealCluster, tmp_path: Path) -> None:
    """The token still comes alone on stdout; stderr says when it really ends."""
    await fresh_cluster.kill_apiserver()
    await fresh_cluster.start_apiserver("--service-account-max-token-expiration=1h")
    kubeconfig(tmp_path / "config", {"fresh": (fresh_cluster, certificate(fresh_cluster))})
    minted = token(tmp_path, *ACCOUNT)
    assert claims(minted.stdout)["exp"] - claims(minted.stdout)["iat"] == 3600
    assert "The cluster shortened the token's lifetime: it expires at" in minted.stderr


@pytest.mark.parametrize("client", ["claude-code", "claude-desktop", "vscode", "cursor", "mcp-json"])
def test_an_entry_holds_no_token(folder: Path, client: str) -> None:
    """Each client's form is JSON that leads to the cluster's own path and asks for the token when it is needed."""
    made = token(folder, "east", "--config", "gateway.yaml", "--output", client, "--url", "https://gw.example/mcp")
    entry = json.loads(made.stdout)
    assert "eyJ" not in made.stdout
    assert "Goes into" in made.stderr
    (name, inner), *_ = (entry.get("mcpServers") or entry["servers"]).items()
    assert name == "east"
    if client == "claude-desktop":
        assert inner["command"] == "kube-mcp-gateway"
        assert inner["args"] == ["connect", "--url", "https://gw.example/mcp", "--context", "east=kind-east"]
    else:
        assert inner["url"] == "https://gw.example/mcp/east"
    if client == "vscode":
        (asked,) = entry["inputs"]
        assert asked["password"] is True
        assert inner["headers"]["Authorization"] == f"Bearer ${{input:{asked['id']}}}"
    if client in ("cursor", "mcp-json"):
        assert "export EAST_TOKEN=$(kube-mcp-gateway token east" in made.stderr


def test_claude_codes_helper_prints_the_header(folder: Path, real_cluster: RealCluster) -> None:
    """The command in the entry, run as it stands, gives the header of a good token."""
    made = token(folder, "east", "--config", "gateway.yaml", "--output", "claude-code", *ACCOUNT)
    helper = json.loads(made.stdout)["mcpServers"]["east"]["headersHelper"]
    program = f"{sys.executable} -c 'from gateway.cli import main; main()'"
    ran = subprocess.run(
        ["sh", "-c", helper.replace("kube-mcp-gateway", program, 1)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "KUBECONFIG": str(folder / "config")},
    )
    header = json.loads(ran.stdout)["Authorization"]
    assert claims(header.removeprefix("Bearer "))["aud"] == [real_cluster.server, "agents", ISSUER]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["west", "--config", "gateway.yaml"], "lists no cluster 'west'. It lists: east, gone."),
        (["gone", "--config", "gateway.yaml"], "No context of the kubeconfig leads to gone (https://gone.example)"),
        (["--config", "gateway.yaml", "--context", "other"], "Name one of its clusters: east, gone."),
        (["--config", "missing.yaml"], "The settings missing.yaml can't be read: No such file or directory."),
        (["--context", "nowhere"], "has no context 'nowhere'. It has: kind-east, other."),
        (["--duration", "5m"], "Kubernetes makes no token for less than 10 minutes; found '5m'."),
        (["--duration", "long"], "such as 24h, 90m or 7d; found 'long'."),
        (["--service-account", "viewer"], "is given as NAMESPACE/NAME"),
        (["--service-account", "demo/gone"], "Make it with: kube-mcp-gateway onboard --context kind-east"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, words: list[str], said: str) -> None:
    """A mistake prints no token, ends with a status that is not 0, and says in one line what to do."""
    ended = token(folder, *words)
    assert ended.returncode in (1, 2)
    assert ended.stdout == ""
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_ctrl_c_ends_what_waits_for_an_api_server(tmp_path: Path) -> None:
    """A person who gives up gets the shell back at once, with status 130 and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        sections = {
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "users": [{"name": "a", "user": {"token": "none"}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump({"current-context": "a", **sections}))
        waiting = subprocess.Popen(
            [sys.executable, "-c", "from gateway.cli import main; main()", "token"],
            env={**os.environ, "KUBECONFIG": str(tmp_path / "config")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            waiting.send_signal(signal.SIGINT)
            # Without being ended, the handshake would take its five seconds.
            assert waiting.communicate(timeout=4) == (b"", b"")
    assert waiting.returncode == 130


def test_a_shell_completes_commands_and_contexts(folder: Path) -> None:
    """The names of contexts come from the kubeconfig, whichever command asks for one."""

    def completed(*words: str) -> list[str]:
        asked = {"COMP_WORDS": " ".join(("kube-mcp-gateway", *words)), "COMP_CWORD": str(len(words))}
        asked |= {"_KUBE_MCP_GATEWAY_COMPLETE": "complete_bash", "KUBECONFIG": str(folder / "config")}
        program = [sys.executable, "-c", "from gateway.cli import main; main()"]
        ran = subprocess.run(program, check=True, capture_output=True, text=True, env=os.environ | asked, timeout=60)
        return ran.stdout.split()

    assert completed("onb") == ["onboard"]
    assert completed("onboard", "--context", "kind") == ["kind-east"]
    assert completed("token", "--context", "") == ["kind-east", "other"]
