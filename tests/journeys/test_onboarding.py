"""An afternoon of a platform team: six clusters, one command."""

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from tests.cli.test_onboard import made, onboard
from tests.cluster.cluster import RealCluster
from tests.operator.kubeconfigs import certificate, kubeconfig

NAMES = ("atlas", "boreas", "castor", "delos", "eos", "faro")


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_six_clusters_are_onboarded_with_one_command(api_server_programs: None, tmp_path: Path) -> None:
    """Six API servers get an account and a role, the settings list all six, and each answers through the gateway."""
    del api_server_programs
    async with AsyncExitStack() as stack:
        clusters = [RealCluster(name, controllers=False) for name in NAMES]
        for cluster in clusters:
            await stack.enter_async_context(cluster)
        kubeconfig(tmp_path / "config", {cluster.name: (cluster, certificate(cluster)) for cluster in clusters})
        words = [word for name in NAMES for word in ("--context", name)]
        done: subprocess.CompletedProcess[str] = await asyncio.to_thread(
            onboard, tmp_path, *words, "--person", "ada", "--yes"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for cluster in clusters:
            assert f"✓ {cluster.name}: cluster {cluster.name} · " in done.stdout
            assert "serviceaccounts kube-mcp-gateway/agent-ada" in made(cluster)
        listed = yaml.safe_load((tmp_path / "gateway.yaml").read_text())["clusters"]
        assert [(one["name"], one["server"]) for one in listed] == [(one.name, one.server) for one in clusters]
        assert {one["defaultAudience"] for one in listed} == {"https://kubernetes.default.svc"}
