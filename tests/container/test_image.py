"""What the Dockerfile makes, built by its own steps and run by runc, as far as that goes without an engine."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty
from threading import Event, Thread

import httpx2
import pytest

from tests.balancer import Replica, balancing
from tests.cluster.cluster import RealCluster
from tests.container.image import ROOT, Container, Image, context, instructions, running
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
START = 60.0
CALLERS = 6
PREAMBLE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


@contextmanager
def replica(image: Image, folder: Path, where: Replica, cluster: RealCluster, **listen: float) -> Iterator[Container]:
    """Run one container in front of a real cluster."""
    settings = folder / where.name
    if not settings.exists():
        settings.mkdir()
        (settings / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
        listed = {"name": "east", "server": cluster.server, "certificateAuthority": "ca.crt"}
        values = {
            "listen": {"port": where.port, **listen},
            "log": {"format": "json"},
            "rateLimiting": False,
            "clusters": [listed],
        }
        (settings / "gateway.yaml").write_text(json.dumps(values))
    # The health check knows the port by the variable alone.
    with running(image, where.name, settings, KUBE_MCP_GATEWAY_ADMIN__PORT=str(where.admin)) as container:
        try:
            container.served.get(timeout=START)
        except Empty:
            pytest.fail("\n".join(container.lines))
        yield container


def test_the_image_holds_what_serving_needs_and_no_more(image: Image) -> None:
    """No demo clusters, no installer, no tests; every package is one of the lock, with nothing missing."""
    packages = next((image.gateway / "lib").glob("python3*/site-packages"))
    assert (packages / "gateway" / "app.py").exists()
    assert not (packages / "gateway" / "demo").exists()
    assert not (packages / "tests").exists()
    assert not (packages / "pip").exists()
    lock = (ROOT / "requirements/runtime.lock").read_text(encoding="utf-8")
    locked = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    installed = {path.name.split("-")[0].lower().replace("_", "-") for path in packages.glob("*.dist-info")}
    assert installed - {"kube-mcp-gateway"} <= {name.lower().replace("_", "-").replace(".", "-") for name in locked}
    for extra in ("uvloop", "valkey", "opentelemetry"):
        assert any(packages.glob(f"{extra}*"))


def test_it_runs_as_nobody_with_nothing_to_write_on(image: Image, tmp_path: Path, real_cluster: RealCluster) -> None:
    """The container's own command serves and is well as uid 65532, without a shell, a capability or a writable file."""
    with replica(image, tmp_path, Replica("alone", free_port(), free_port()), real_cluster) as container:
        assert container.execute(*image.healthcheck()).returncode == 0
        assert container.execute("sh", "-c", "true").returncode != 0
        places = ("/", "/opt/gateway", "/etc/kube-mcp-gateway")
        facts = f"import os; print(os.getuid(), os.getgid(), [os.access(place, os.W_OK) for place in {places}])"
        assert container.execute("python", "-c", facts).stdout == "65532 65532 [False, False, False]\n"
        status = container.execute("python", "-c", "print(open('/proc/1/status').read())").stdout
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        nobody = {"KUBE_MCP_GATEWAY_ADMIN__PORT": str(free_port())}
        assert container.execute(*image.healthcheck(), **nobody).returncode == 1
    assert container.process.returncode == 0


class Load:
    """Callers that call one after another, until they are told to stop, and what came back."""

    def __init__(self, url: str, token: str) -> None:
        """Prepare the call."""
        self.url, self.end, self.answers = url, Event(), 0
        self.failures: list[str] = []
        self.servers: set[str] = set()
        params = {"name": "resource_list", "arguments": {"resource": "ns"}, "_meta": PREAMBLE}
        self.body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        self.headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "resource_list",
        }

    def run(self) -> None:
        """Be one caller, on a connection that is kept."""
        with httpx2.Client(headers=self.headers, timeout=30) as client:
            while not self.end.is_set():
                try:
                    answer = client.post(self.url, content=self.body)
                    if answer.status_code != 200 or '"isError":true' in answer.text or "kube-system" not in answer.text:
                        self.failures.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                self.answers += 1

    def until(self, more: int) -> None:
        """Wait for so many more answers."""
        wanted, deadline = self.answers + more, time.monotonic() + START
        while self.answers < wanted:
            assert time.monotonic() < deadline, self.failures[:3]
            time.sleep(0.05)


async def test_replicas_are_rolled_under_load(image: Image, tmp_path: Path, real_cluster: RealCluster) -> None:
    """Two replicas behind a balancer are replaced one after the other while agents call: no call fails."""
    token = await real_cluster.token()
    places = [Replica(name, free_port(), free_port()) for name in ("first", "second")]
    with ExitStack() as stack:
        balancer = stack.enter_context(balancing(tmp_path, places))
        stacks = {place.name: stack.enter_context(ExitStack()) for place in places}
        for place in places:
            stacks[place.name].enter_context(replica(image, tmp_path, place, real_cluster, drainDelaySeconds=5))
            balancer.wait_for(**{place.name: "UP"})
        load = Load(balancer.url, token)
        callers = [Thread(target=load.run) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            load.until(more=50)
            for place in places:
                stacks[place.name].close()
                balancer.wait_for(**{place.name: "DOWN"})
                load.until(more=20)
                stacks[place.name].enter_context(replica(image, tmp_path, place, real_cluster, drainDelaySeconds=5))
                balancer.wait_for(**{place.name: "UP"})
                load.until(more=50)
        finally:
            load.end.set()
            for caller in callers:
                caller.join(60)
    assert load.failures == []
    assert load.answers > 200


def test_the_dockerfile_is_as_it_was_meant() -> None:
    """Exec forms throughout, a numeric user, hashes for everything that is installed, and no demo in the context."""
    steps = list(instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))
    last = [step for step in steps if step.stage == 1]
    assert max(step.stage for step in steps) == 1
    for step in last:
        if step.word in ("ENTRYPOINT", "CMD"):
            assert step.words()
    assert [step.value for step in last if step.word == "USER"] == ["65532:65532"]
    for step in steps:
        for command in step.value.split("&&") if step.word == "RUN" else ():
            assert (
                "install" not in command
                or "uninstall" in command
                or "--require-hashes" in command
                or "--no-index" in command
            )
    files = {str(path.relative_to(ROOT)) for path in context((ROOT / ".dockerignore").read_text(encoding="utf-8"))}
    assert {"gateway/app.py", "requirements/runtime.lock", "pyproject.toml"} <= files
    assert not [name for name in files if name.startswith(("tests/", "gateway/demo/", "config/", "docs/"))]
