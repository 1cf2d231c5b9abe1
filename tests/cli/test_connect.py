"""`connect` as a client starts it: quick, quiet on standard output, clear where it can never work, gone when told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main

COMMAND = (sys.executable, "-c", "from gateway.cli import main; main()", "connect")
NOBODY = ("--url", "http://127.0.0.1:9/mcp")
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "resource_types", "arguments": {}}}
SECRET = "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.c2VjcmV0"


def connect(folder: Path, *words: str, messages: Sequence[Any] = ()) -> "subprocess.CompletedProcess[str]":
    """Run it with these messages on its standard input, which then ends, and without anybody's kubeconfig."""
    return subprocess.run(
        [*COMMAND, *words],
        input="".join(json.dumps(message) + "\n" for message in messages),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(folder), "KUBECONFIG": ""},
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "No kubeconfig: there is no file"),
        (["--kubeconfig", "none"], "No kubeconfig: there is no file none"),
        (["--kubeconfig", "config", "--context", "prod"], "has no context 'prod'. It has: kind-east."),
        (["--kubeconfig", "config", "--service-account", "alice"], "given as NAMESPACE/NAME"),
        (["--kubeconfig", "config", "--duration", "soon"], "A duration is a number and a unit"),
        (["--kubeconfig", "config", "--duration", "1m"], "no token for less than 10 minutes"),
        (["--kubeconfig", "config", "--context", "kind-east", "--context", "kind-east"], "kind-east is named twice"),
        (
            ["--kubeconfig", "config", "--context", "kind-east", "--token-command", "kind-east=cat x"],
            "kind-east is named twice",
        ),
        (["--token-command", "east"], "--token-command is NAME=COMMAND"),
        (["--token-command", "east='"], "--token-command east"),
        (["--token-command", "east=cat x", "--url", "mcp.example"], "--url is a URL such as"),
        (["--token-command", "east=cat x", "--url", "http://mcp.example/mcp"], "is not encrypted"),
        (["--token-command", "east=cat x", "--ca", "none.pem"], "--ca none.pem can't be read"),
    ],
)
def test_what_can_never_work_is_one_line(
    tmp_path: Path,
    words: Sequence[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong word must end it at once with one line that says which, and nothing on standard output."""
    (tmp_path / "config").write_text(
        "contexts: [{name: kind-east, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(sys, "argv", ["kube-mcp-gateway", "connect", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("kube-mcp-gateway: ")
    assert said in line


@pytest.mark.parametrize("command", [f"echo {SECRET}", f"sh -c 'echo {SECRET}; exit 1'"])
def test_standard_output_is_mcp_alone_and_no_token_is_printed(tmp_path: Path, command: str) -> None:
    """Whatever goes wrong, and however much is logged, each line out is a message, and no line has the token."""
    words = ("--token-command", f"east={command}", "--log-level", "debug", *NOBODY)
    ended = connect(tmp_path, *words, messages=[INITIALIZE, CALL])
    assert ended.returncode == 0
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert answers[0]["result"]["serverInfo"]["name"] == "kube-mcp-gateway"
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_ends_with_its_input(tmp_path: Path) -> None:
    """A client that closes the connection before it says anything must leave nothing behind."""
    ended = connect(tmp_path, "--token-command", "east=true", *NOBODY)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_though_its_input_stays_open(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """A client's signal, or Ctrl-C of somebody who tries it, must end it at once and without a traceback."""
    words = [*COMMAND, "--token-command", "east=true", *NOBODY]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(INITIALIZE) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 0
        process.send_signal(number)
        assert process.wait(20) == status
        assert "Traceback" not in process.stderr.read()
