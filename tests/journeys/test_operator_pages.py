"""Every command of the pages for operators, run as it stands against real API servers."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from gateway.clusters.options import ClusterOptions
from tests.cluster import programs
from tests.cluster.cluster import RealCluster
from tests.documented import ROOT, Block, blocks
from tests.operator.kubeconfigs import certificate, kubeconfig

GATEWAY = "127.0.0.1:8080"
PAGES = ("README.md", "docs/connecting.md", "docs/policies.md", "docs/troubleshooting.md")
LEFT_OUT = ("make venv\n",)
"""It would change the environment that the tests run in."""
FOREIGN = ("KUBE_MCP_GATEWAY_", "MAKE", "MFLAGS", "ARGS")
"""How variables begin that an operator's shell would not have."""
PATIENCE = 60


@dataclass(slots=True)
class Desk:
    """An operator's desk: a folder, a kubeconfig, the programs, and what was left running."""

    folder: Path
    environment: dict[str, str]
    address: str
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, block: Block) -> None:
        """Run a block as a shell does; one that serves is left running until the page ends."""
        text = block.text.replace(GATEWAY, self.address).replace("make demo", "make -o .venv/.installed demo")
        if text.strip().endswith(("kube-mcp-gateway demo", "serve --config gateway.yaml")):
            self.start(text)
            return
        if GATEWAY in block.text and "make" not in block.text and not self.running:
            self.start("kube-mcp-gateway serve --config gateway.yaml")
        where = ROOT if "make " in text else self.folder
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == 0, f"line {block.line}: {block.text}\n{ended.stdout}\n{ended.stderr}"
        assert '"isError":true' not in ended.stdout.replace(" ", "")

    def start(self, text: str) -> None:
        """Start what serves, and wait until it does."""
        where = ROOT if ".venv" in text else self.folder
        process = subprocess.Popen(
            shlex.split(text), cwd=where, env=self.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.running.append(process)
        deadline = time.monotonic() + PATIENCE
        host, port = self.address.split(":")
        while "demo" not in text:
            assert process.poll() is None
            assert time.monotonic() < deadline
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)


@pytest.fixture
def desk(real_clusters: tuple[RealCluster, RealCluster], tmp_path: Path) -> Iterator[Desk]:
    """A desk whose kubeconfig has the contexts that the pages name."""
    east, west = real_clusters
    contexts = {"kind-kind": east, "kind-east": east, "kind-west": west}
    kubeconfig(tmp_path / "config", {name: (cluster, certificate(cluster)) for name, cluster in contexts.items()})
    shims = tmp_path / "bin"
    shims.mkdir()
    program = shims / "kube-mcp-gateway"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from gateway.cli import main; main()" "$@"\n')
    program.chmod(0o700)
    (shims / "kubectl").symlink_to(programs.find("kubectl")["kubectl"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Nor what `make test ARGS=...` leaves to each `make` below it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment |= {
        "KUBECONFIG": str(tmp_path / "config"),
        "PATH": f"{shims}:{environment['PATH']}",
        "KUBE_MCP_GATEWAY_LISTEN__PORT": address.split(":")[1],
        "KUBE_MCP_GATEWAY_ADMIN__PORT": "0",
        "REQUEST_ID": "0123456789abcdef",
    }
    made = Desk(tmp_path, environment, address)
    try:
        yield made
    finally:
        for process in made.running:
            process.terminate()
            process.wait(PATIENCE)
        words = f"{program} onboard --context kind-east --context kind-west --yes --remove"
        for person in ("", " --person ada"):
            subprocess.run(shlex.split(words + person), check=True, cwd=tmp_path, env=environment, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_works(desk: Desk, page: str) -> None:
    """Whoever copies the page's commands, one after the other, gets what it says."""
    found = [block for block in blocks(ROOT / page) if block.language == "sh" and not block.text.startswith(LEFT_OUT)]
    assert found
    if page in ("docs/policies.md", "docs/troubleshooting.md"):
        desk.run(Block("sh", "kube-mcp-gateway onboard --context kind-east --yes", 0))
    for block in found:
        desk.run(block)


@pytest.mark.parametrize("page", ["README.md", "docs/policies.md", "docs/connecting.md"])
def test_every_setting_of_the_page_is_one(page: str) -> None:
    """What the page shows of a cluster's entry is valid as it stands."""
    for block in blocks(ROOT / page):
        if block.language == "yaml":
            shown = yaml.safe_load(block.text)
            for entry in shown.get("clusters", [{"name": "a", "server": "https://a.example", **shown}]):
                ClusterOptions.model_validate(entry)
