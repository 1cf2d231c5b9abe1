"""The demo command as a person runs it: a process, its words, and its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.slow

DEMO = (sys.executable, "-c", "from gateway.cli import main; main()", "demo")


def demo(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*DEMO, *arguments], capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment
    )


def test_the_tour_shows_both_clusters_a_problem_a_log_and_a_difference() -> None:
    """One command must show the product at work and end with status 0."""
    ended = demo("--once")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    for shown in (
        "cluster east · nodes",
        "cluster west [PROD] · nodes",
        "CrashLoopBackOff",
        "log of pod shop/checkout",
    ):
        assert shown in ended.stdout
    assert re.search(r'-  PAYMENTS_URL: ""\n +\+  PAYMENTS_URL: https:', ended.stdout)
    assert "nothing written" in ended.stdout


def test_one_call_prints_its_answer() -> None:
    """`--call` must print what an agent would get, and a tool's error must be an error of the command."""
    ended = demo("--call", "west", "resource_list", '{"resource": "ns", "output": "name"}')
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("cluster west [PROD] · namespaces · ")
    failed = demo("--call", "east", "resource_list", '{"resource": "secrets"}')
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "Cluster east serves no 'secrets'" in failed.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--call", "north", "resource_types", "{}"), "There is no cluster 'north': the demo has east and west."),
        (("--call", "east", "resource_types", "{"), "The arguments are not JSON"),
        (("--call", "east", "resource_types", "[]"), "The arguments must be a JSON object"),
        (("--call", "east", "make_coffee", "{}"), "Unknown tool. This cluster has: resource_types"),
    ],
)
def test_a_wrong_call_is_one_clear_line(words: tuple[str, ...], said: str) -> None:
    """Whatever is wrong with a call must be said in one line, without a traceback."""
    ended = demo(*words)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_one_clear_line() -> None:
    """A port that somebody else has must be named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = demo("--port", str(port), "--once")
    assert ended.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_it_serves_until_ctrl_c_and_two_at_once_do_not_mind(tmp_path: Path) -> None:
    """The printed mcp.json must work beside a second demo and a home that can't be written; Ctrl-C must end with 0."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    running = [
        subprocess.Popen([*DEMO], stdout=subprocess.PIPE, text=True, env=os.environ | {"HOME": str(home)})
        for _ in range(2)
    ]
    try:
        for process in running:
            server = _mcp_json(process)["west"]
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
            headers = {**server["headers"], "Accept": "application/json, text/event-stream"}
            answer = httpx2.post(server["url"], headers=headers, json=body)
            assert "resource_list" in answer.text
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
    for process in running:
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert list(home.iterdir()) == []


def _mcp_json(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("}"):
            break
    text = "".join(lines)
    servers: dict[str, Any] = json.loads(text[text.index("{") :])["mcpServers"]
    return servers
