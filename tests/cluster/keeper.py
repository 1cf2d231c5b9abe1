"""Boundary to the operating system's processes: a keeper starts what a cluster is made of, and ends all of it.

The keeper is a process of its own, in a session of its own. Its standard input comes from the test run: when that pipe
closes, because the run stopped the cluster or because it was killed, the keeper ends what it started and what those
left behind, undoes what it was told to undo and removes the folder. The clean end and the aborted one are one code.

Run as a program (`python keeper.py FOLDER [private]`) this file uses the standard library alone. `private` (Linux,
root) gives everything the keeper starts a mount table of its own, with empty /run, /var/lib and /var/log.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x00020000
LINUX = sys.platform == "linux"


class ProgramFailedError(RuntimeError):
    """A program did not start, or ended when it should not have; the text has the end of its log."""


class Keeper:
    """The test run's end of the pipe. Its methods may be called from any thread."""

    def __init__(self, directory: Path, *, private: bool = False) -> None:
        """Start a keeper for this folder, which it will remove at the end."""
        self._directory = directory
        self._lock = threading.Lock()
        self.pids: dict[str, int] = {}
        command = [sys.executable, "-I", str(Path(__file__)), str(directory), *(["private"] if private else [])]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True, text=True)

    def start(self, name: str, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> int:
        """Start a program that stays, with its output in NAME.log in the folder; return its process id."""
        answer = self._ask(start=name, argv=[str(arg) for arg in argv], environment=dict(environment or {}))
        self.pids[name] = int(answer["pid"])
        return self.pids[name]

    def run(self, argv: Sequence[str | Path]) -> str:
        """Run a program to its end, among those that stay; return its output."""
        answer = self._ask(run=[str(arg) for arg in argv])
        if answer["code"]:
            raise ProgramFailedError(f"{' '.join(map(str, argv))} ended with {answer['code']}: {answer['output']}")
        return str(answer["output"])

    def kill(self, name: str) -> None:
        """Kill one program and wait until it is gone."""
        self._ask(kill=name)

    def at_end(self, undo: Sequence[str | Path]) -> None:
        """Have this command run at the end. Say it before what it undoes is done."""
        self._ask(undo=[str(arg) for arg in undo])

    def at_end_remove_cgroup(self, path: str) -> None:
        """Have this control group, in each hierarchy, removed at the end."""
        self._ask(cgroup=path)

    def check(self, name: str) -> None:
        """Raise ProgramFailedError when a program that was started has ended."""
        code = self._ask(status=name)["code"]
        if code is not None:
            raise ProgramFailedError(f"{name} ended with {code}:\n{self.log(name)}")

    def log(self, name: str, lines: int = 20) -> str:
        """Return the end of a program's output."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join((self._directory / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        return "(no output)"

    def end(self) -> None:
        """End everything and wait until it has ended."""
        if self._process.stdin and self._process.stdout:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def _ask(self, **question: object) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line or '{"error": "the keeper has ended"}')
        if "error" in answer:
            raise ProgramFailedError(answer["error"])
        return answer


class _Kept:
    """The keeper's own end: what was started and what has to be undone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._undo: list[list[str]] = []
        self._cgroups: list[str] = []

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        match question:
            case {"start": name, "argv": argv, "environment": environment}:
                with (self._directory / f"{name}.log").open("ab") as log:
                    started = subprocess.Popen(
                        argv,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self._directory,
                        env={**os.environ, **environment},
                        # Safe here: the keeper has one thread, and that thread lives as long as the keeper.
                        preexec_fn=_die_with_parent if LINUX else None,  # noqa: PLW1509
                    )
                self._programs[name] = started
                return {"pid": started.pid}
            case {"run": argv}:
                done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
                return {"code": done.returncode, "output": done.stdout + done.stderr}
            case {"kill": name}:
                self._kill(name)
            case {"status": name}:
                return {"code": self._programs[name].poll()}
            case {"undo": argv}:
                self._undo.append(argv)
            case {"cgroup": path}:
                self._cgroups.append(path)
        return {}

    def end(self) -> None:
        # The last started goes first, so etcd is last: an API server without etcd takes a minute to end.
        for name in reversed(list(self._programs)):
            self._kill(name)
        if LINUX:
            _until_true(_kill_descendants)
        for path in self._cgroups:
            for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
                _until_true(partial(_remove_cgroup, hierarchy / path.strip("/")))
        for argv in reversed(self._undo):
            subprocess.run(argv, capture_output=True, check=False)
        _until_true(partial(_remove_folder, self._directory))

    def _kill(self, name: str) -> None:
        program = self._programs.pop(name)
        program.kill()
        program.wait()


def _until_true(attempt: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not attempt() and time.monotonic() < deadline:
        time.sleep(0.02)


def _kill_descendants() -> bool:
    """Kill what is left, orphans such as containers and their shims included; say whether nothing was."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in brackets may contain anything, spaces and brackets too.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = _descendants(os.getpid(), parents)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return not found


def _descendants(pid: int, parents: Mapping[int, Iterable[int]]) -> list[int]:
    return [each for child in parents.get(pid, ()) for each in (child, *_descendants(child, parents))]


def _remove_cgroup(path: Path) -> bool:
    for group, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(group).rmdir()
    return not path.exists()


def _remove_folder(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _make_mounts_private() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    # Nothing gets out to the host's table; inside, volumes reach containers as on any node.
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for path in ("/run", "/var/lib", "/var/log"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "kube-mcp-gateway-test", path], check=True)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    directory = Path(sys.argv[1])
    kept = _Kept(directory)
    if LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if "private" in sys.argv[2:]:
        _make_mounts_private()
    try:
        for line in sys.stdin:
            try:
                answer = kept.answer(json.loads(line))
            except (OSError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            # When nobody reads the answer the run is gone, and the loop's next line is the end.
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kept.end()


if __name__ == "__main__":
    _main()
