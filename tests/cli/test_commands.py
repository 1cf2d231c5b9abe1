import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.clusters import listed
from gateway.cli.commands import spelled_out
from gateway.clusters.options import ClusterOptions

HEAVY = ("aiohttp", "hypercorn", "kubernetes_asyncio", "mcp", "pydantic", "quart", "structlog")
DISPENSABLE = {
    "aiohttp.web",
    "detect_secrets",
    "gateway.bridge",
    "gateway.demo",
    "gateway.operator.kubeconfig",
    "jsonschema",
    "kubernetes_asyncio",
    "opentelemetry.sdk",
    "requests",
    "ruamel",
    "valkey",
}
"""What takes its time to import and is wanted after the start, in another command, or by some operators alone."""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell would."""
    program = [sys.executable, "-c", "from gateway.cli import main; main()"]
    return subprocess.run([*program, *arguments], check=False, capture_output=True, text=True, timeout=60)


def test_without_words_it_shows_help() -> None:
    """Whoever types just the command sees what it is and which commands there are."""
    shown = command()
    assert "Many Kubernetes clusters".lower() in shown.stdout.lower()
    assert "serve" in shown.stdout
    assert command("--help").returncode == 0


def test_help_teaches() -> None:
    """The help of `serve` shows a start with and without a file, and names each flag."""
    shown = command("serve", "--help")
    assert shown.returncode == 0
    text = " ".join(shown.stdout.split())
    assert "kube-mcp-gateway serve --config gateway.yaml" in text
    assert "kube-mcp-gateway serve --cluster https://127.0.0.1:6443 --certificate-authority ca.crt" in text
    flags = ("config", "host", "port", "audience", "log-level", "cluster", "certificate-authority", "tls-server-name")
    for flag in (*flags, "insecure"):
        assert f"--{flag}" in text


def test_version() -> None:
    """`--version` shows the package's."""
    assert command("--version").stdout == f"kube-mcp-gateway {__version__}\n"


def test_help_waits_for_nothing_that_only_serving_needs() -> None:
    """The command line is read before any of the libraries of serving is imported."""
    code = "import sys, gateway.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert set(shown.stdout.split()).isdisjoint(HEAVY)


def test_a_start_waits_for_nothing_that_it_can_do_without() -> None:
    """Nearly all of a start's time is imports, so what not everybody needs at once comes later."""
    code = "import sys, gateway.cli.serve; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(shown.stdout.split())
    assert "gateway.app" in loaded
    assert loaded & DISPENSABLE == set()


@pytest.mark.parametrize(
    "words",
    [
        ["servee"],
        ["serve", "--prot", "1"],
        ["serve", "--port", "many"],
        ["serve", "extra"],
        ["serve", "--insecure=maybe", "--cluster", "https://a.example"],
        ["serve", "--insecure"],
        ["serve", "--certificate-authority", "ca.crt"],
        ["serve", "--tls-server-name", "a.example"],
    ],
)
def test_wrong_words_end_with_status_2(words: list[str]) -> None:
    """A mistake on the command line is told on stderr, without a traceback."""
    ended = command(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Error" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_settings_end_with_status_2(tmp_path: Path) -> None:
    """Every mistake of the file is told at once on stderr, nothing starts, and nobody sees a traceback."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "audiense: agents\nlisten: {port: eighty}\nadmin: {port: -1}\nlog: {level: loud}\n"
        "clusters: [{name: east, server: 'http://east.example'}]\n"
    )
    ended = command("serve", "--config", str(file))
    assert (ended.returncode, ended.stdout) == (2, "")
    head, *problems = ended.stderr.splitlines()
    assert head == "kube-mcp-gateway: 5 mistakes in the settings; nothing was started."
    for path in ("audiense", "listen.port", "admin.port", "log.level", "clusters[0].server"):
        assert sum(f"{file}: {path}: " in problem for problem in problems) == 1
    assert len(problems) == 5


def test_flags_are_settings() -> None:
    """What flags say goes through the same checks as a file."""
    ended = command(
        "serve", "--host", "0.0.0.0", "--log-level", "loud", "--cluster", "http://a.example", "--insecure=true"
    )
    assert ended.returncode == 2
    for path in ("listen.host", "log.level", "clusters[0].server"):
        assert f"command line: {path}: " in ended.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--insecure=true"], ["--insecure"]),
        (["--insecure=FALSE"], ["--no-insecure"]),
        (["--insecure=1", "--insecure=0"], ["--insecure", "--no-insecure"]),
        (["--insecure", "--no-insecure"], ["--insecure", "--no-insecure"]),
        (["--insecure=maybe"], ["--insecure=maybe"]),
        (["--insecure="], ["--insecure="]),
        (["--audience=true"], ["--audience=true"]),
        (["serve", "--port=1", "x=true"], ["serve", "--port=1", "x=true"]),
    ],
)
def test_switches_take_true_and_false(words: list[str], meant: list[str]) -> None:
    """A switch may be given a value; nothing else is touched."""
    assert spelled_out(words, {"--insecure"}) == meant


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["https://api.east.example:6443"], ["api-east-example"]),
        (["https://127.0.0.1:6443", "https://127.0.0.1:6444"], ["127-0-0-1", "127-0-0-1-6444"]),
        (
            ["https://a.example/one", "https://a.example/two", "https://a.example/x"],
            ["a-example", "a-example-2", "a-example-3"],
        ),
        (["https://[::1]:6443"], ["1"]),
        (["https://A_B.Example./"], ["a-b-example"]),
        (["", "https://", "https://[::1", "https://h:99999"], ["cluster", "cluster-2", "cluster-3", "cluster-4"]),
        ([f"https://{'a' * 70}.example", f"https://{'a' * 70}.other"], ["a" * 63, "a" * 61 + "-2"]),
    ],
)
def test_clusters_are_named_after_their_hosts(urls: list[str], names: list[str]) -> None:
    """Each `--cluster` gets a name of its own, made of its host."""
    assert [cluster["name"] for cluster in listed(urls, None, None, insecure=False)] == names


def test_trust_applies_to_every_cluster() -> None:
    """The flags about trust are about each `--cluster`, and say nothing where they were not given."""
    one, two = listed(["https://a.example", "https://b.example"], Path("ca.crt"), "c.example", insecure=False)
    for cluster in (one, two):
        assert (cluster["certificateAuthority"], cluster["tlsServerName"]) == ("ca.crt", "c.example")
        assert cluster["insecure"] is None
    (plain,) = listed(["https://a.example"], None, None, insecure=True)
    assert plain == {
        "name": "a-example",
        "server": "https://a.example",
        "certificateAuthority": None,
        "tlsServerName": None,
        "insecure": True,
    }


def test_read_write_allows_all_but_deleting() -> None:
    """What MKP's users know as one flag must open applying, commands and evictions, and nothing else."""
    (cluster,) = listed(["https://a.example"], None, None, insecure=False, read_write=True)
    policy = ClusterOptions.model_validate({k: v for k, v in cluster.items() if v is not None}).policy
    assert policy.writes == {"apply", "post"}
    assert policy.subresources == {"pods/exec", "pods/eviction"}
    assert policy.confirmation == "person"


@pytest.mark.parametrize("flag", ["--read-write", "--read-write=true", "--insecure"])
def test_a_flag_about_clusters_needs_one(flag: str) -> None:
    """A flag that would change nothing must be a mistake, and not a false feeling."""
    ended = command("serve", flag)
    assert ended.returncode == 2
    assert "no --cluster is given" in " ".join(ended.stderr.replace("│", " ").split())
