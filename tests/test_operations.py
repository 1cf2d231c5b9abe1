"""What the documents for operators show is tried: settings load, commands run, figures are the code's."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gateway.cli.connection import CLOSING, STALLED, STREAMS, ListenerConfig
from gateway.edge.certificate import EVERY
from gateway.edge.endpoint import BODY_SECONDS, MAX_BODY
from gateway.edge.options import ListenOptions
from gateway.settings import load_settings
from tests.cluster.pki import new_authority
from tests.documented import ROOT, Block, blocks
from tests.kubernetes.conftest import Kubectl, cluster_with_kinds, kubectl, manifests
from tests.ports import free_port

__all__ = ["cluster_with_kinds", "kubectl", "manifests"]

PAGES = ("operating", "kubernetes", "migrating", "upgrading", "sizing", "alerts")
DOCS = ROOT / "docs"


def shown(page: str, language: str, *words: str) -> list[Block]:
    """Return a page's blocks of a language that have all these words."""
    found = blocks(DOCS / f"{page}.md")
    return [block for block in found if block.language == language and all(word in block.text for word in words)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """No page sends its reader to a file that is not there."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (DOCS / target).resolve().exists(), target


@pytest.mark.parametrize(
    "block",
    [*shown("operating", "yaml"), *shown("kubernetes", "yaml", "certificateAuthorityData")],
    ids=lambda block: f"line {block.line}",
)
def test_the_settings_that_are_shown_load(block: Block, tmp_path: Path) -> None:
    """Settings that somebody copies from a page start the gateway, once their files are there."""
    authority = new_authority("a")
    pair = authority.serving("gateway", ["127.0.0.1"])
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls/tls.key").write_bytes(pair.key)
    values = yaml.safe_load(block.text.replace("/etc/kube-mcp-gateway", str(tmp_path)))
    for cluster in values.setdefault("clusters", [{"name": "a", "server": "https://a.example"}]):
        if "certificateAuthorityData" in cluster:
            cluster["certificateAuthorityData"] = authority.pem.decode()
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(values))
    assert load_settings(file).clusters


def test_the_figures_are_the_codes() -> None:
    """What one client can do, and how long things take, is as the page says."""
    text = " ".join((DOCS / "operating.md").read_text(encoding="utf-8").split())
    config = ListenerConfig(ListenOptions())
    assert f"{config.h11_max_incomplete_size // 1024} KiB of headers" in text
    assert f"{MAX_BODY // 2**20} MiB of body within {BODY_SECONDS:.0f} s" in text
    assert f"{STREAMS} HTTP/2 streams at once, {STALLED:.0f} s without taking" in text
    assert f"{config.keep_alive_timeout:.0f} s idle" in text
    assert f"{2 * STREAMS} of its requests are at work" in text
    assert f"for at most {CLOSING:.0f} s more" in text
    assert EVERY == 5
    assert "every five seconds" in text


@pytest.mark.parametrize("block", shown("migrating", "sh"), ids=lambda block: f"line {block.line}")
def test_the_commands_for_newcomers_serve(block: Block, tmp_path: Path) -> None:
    """Whoever comes from k-mcp or MKP and types what the page shows has a gateway that serves."""
    (tmp_path / "ca.crt").write_bytes(new_authority("a").pem)
    words = block.text.replace("\\\n", " ").replace("8080", str(free_port())).split()
    assert words.pop(0) == "kube-mcp-gateway"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE_MCP_GATEWAY_")}
    environment |= {"KUBE_MCP_GATEWAY_ADMIN__PORT": "0", "KUBE_MCP_GATEWAY_LISTEN__PORT": "0"}
    environment["PYTHONPATH"] = str(ROOT)
    program = [sys.executable, "-c", "from gateway.cli import main; main()", *words]
    with subprocess.Popen(program, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if '"serving"' in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, lines


@pytest.mark.slow
def test_the_manifests_of_the_page_are_taken(cluster_with_kinds: Kubectl, manifests: Path) -> None:
    """The commands and the overlay that docs/kubernetes.md shows work on a real API server, in its order."""
    (first,) = shown("kubernetes", "sh", "kubectl create namespace")
    (own,) = shown("kubernetes", "yaml", "kind: Kustomization")
    folder = manifests / "overlays" / "own"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(own.text)
    commands = [line.removeprefix("kubectl ") for line in first.text.splitlines() if "rollout status" not in line]
    commands.append("apply --server-side --force-conflicts --kustomize config/kubernetes/overlays/own")
    for command in commands:
        cluster_with_kinds(*command.replace("config/kubernetes", str(manifests)).split())
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    get = ("get", "deployment/kube-mcp-gateway", "--namespace=kube-mcp-gateway", f"--output={image}")
    assert cluster_with_kinds(*get) == "registry.example/kube-mcp-gateway:0.1.0"
