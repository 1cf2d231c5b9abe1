"""Boundary to the Dockerfile where no engine is: its build steps in a scratch folder, and what they make under runc.

The stage that builds runs as it is written, with this machine's Python in place of the base image's. Of the last stage
the folders, the environment, the user and the commands are taken; its one RUN (no pip, a user's name) is not run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).parents[2]
NO_FILES = ("/proc", "/dev")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile; `stage` counts from 0."""

    stage: int
    word: str
    value: str

    def words(self) -> list[str]:
        """Return the value of an exec form."""
        words: list[str] = json.loads(self.value)
        return words


def instructions(text: str) -> Iterator[Instruction]:
    """Read a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stage = -1
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        word, _, value = line.strip().partition(" ")
        if word:
            stage += word == "FROM"
            yield Instruction(stage, word, value.strip())


def context(ignore: str) -> Iterator[Path]:
    """Return the files that .dockerignore leaves: the last pattern that matches a file or a folder of it decides."""
    rules = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if parts[0].startswith(".") or not path.is_file():
            continue
        ignored = False
        for rule in rules:
            pattern = re.escape(rule.lstrip("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, "/".join(parts[: n + 1])) for n in range(len(parts))):
                ignored = not rule.startswith("!")
        if not ignored:
            yield path


@dataclass(frozen=True, slots=True)
class Image:
    """What the Dockerfile makes: `gateway` is its /opt/gateway, `rootfs` the rest."""

    folder: Path
    last: tuple[Instruction, ...]

    @property
    def gateway(self) -> Path:
        """The environment with the package and all it needs."""
        return self.folder / "opt/gateway"

    def of(self, word: str) -> Instruction:
        """Return the last stage's one instruction of this kind."""
        return next(each for each in self.last if each.word == word)

    def environment(self) -> list[str]:
        """Return the variables that the image sets."""
        pairs = (pair for each in self.last if each.word == "ENV" for pair in each.value.split())
        return [pair.replace("$PATH", "/usr/local/bin:/usr/bin") for pair in pairs]

    def healthcheck(self) -> list[str]:
        """Return the command that an engine runs to see whether the container is well."""
        words: list[str] = json.loads(self.of("HEALTHCHECK").value.partition("CMD ")[2])
        return words


def build(folder: Path) -> Image:
    """Run the steps of the Dockerfile's first stage in this folder."""
    steps = list(instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))
    source = folder / "src"
    for path in context((ROOT / ".dockerignore").read_text(encoding="utf-8")):
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    subprocess.run([sys.executable, "-m", "venv", folder / "base"], check=True)
    environment = {**os.environ, "PATH": f"{folder / 'base/bin'}:{os.environ['PATH']}"}
    for step in steps:
        if step.stage == 0 and step.word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in step.value.split())
        if step.stage == 0 and step.word == "RUN":
            command = re.sub(r"(?<![\w.])/(opt/gateway|wheels)\b", lambda found: str(folder / found[1]), step.value)
            subprocess.run(["sh", "-euc", command], cwd=source, env=environment, check=True, capture_output=True)
    return Image(folder, tuple(step for step in steps if step.stage == 1))


@dataclass(slots=True)
class Container:
    """A container that runs: its process under runc, and what it wrote."""

    name: str
    process: subprocess.Popen[str]
    state: Path
    lines: list[str] = field(default_factory=list)
    served: "Queue[dict[str, Any]]" = field(default_factory=Queue)

    def execute(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with other variables."""
        more = [f"--env={name}={value}" for name, value in variables.items()]
        runc = ["runc", "--root", str(self.state), "exec", *more, self.name, *command]
        return subprocess.run(runc, capture_output=True, text=True, check=False, timeout=30)

    def collect(self) -> None:
        """Keep what it writes, and notice when it serves."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if '"event":"serving"' in line.replace('": "', '":"'):
                self.served.put(json.loads(line))


@contextmanager
def running(image: Image, name: str, settings: Path, **variables: str) -> Iterator[Container]:
    """Run the image's own command: not root, nothing writable, no capability, no shell; on the machine's network."""
    bundle = image.folder / name
    rootfs = bundle / "rootfs"
    mounts = _mounts(image, settings)
    for mount in mounts:
        target = rootfs / mount["destination"].lstrip("/")
        if mount["type"] == "bind" and Path(mount["source"]).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            target.mkdir(parents=True, exist_ok=True)
    (rootfs / "opt").mkdir(exist_ok=True)
    # The environment names its own folder in every script, so it is seen there and, as in the image, below /opt.
    for link, target in (("lib", "usr/lib"), ("lib64", "usr/lib64"), ("opt/gateway", image.gateway)):
        (rootfs / link).symlink_to(target)
    user, group = (int(number) for number in image.of("USER").value.split(":"))
    command = [*image.of("ENTRYPOINT").words(), *image.of("CMD").words()]
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": command,
            "env": [*image.environment(), *(f"{name}={value}" for name, value in variables.items())],
            "cwd": image.of("WORKDIR").value,
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    state = image.folder / "runc"
    runc = ["runc", "--root", str(state), "run", "--bundle", str(bundle), name]
    process = subprocess.Popen(runc, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    container = Container(name, process, state)
    reader = threading.Thread(target=container.collect, daemon=True)
    reader.start()
    try:
        yield container
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                subprocess.run(["runc", "--root", str(state), "kill", name, "KILL"], check=False)
                process.wait(30)
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()
        subprocess.run(["runc", "--root", str(state), "delete", "--force", name], check=False, capture_output=True)
        shutil.rmtree(bundle)


def _mounts(image: Image, settings: Path) -> Sequence[dict[str, Any]]:
    """Return what the container sees: libraries, Python, the gateway and its settings, all of it to be read only."""
    python = Path(sys.executable).resolve()
    seen = {"/usr/lib", "/usr/lib64", f"{sys.base_prefix}/lib", str(python), str(image.gateway)}
    sources = {path: path for path in sorted(seen) if Path(path).exists()} | {"/etc/kube-mcp-gateway": str(settings)}
    binds = [
        {"destination": target, "type": "bind", "source": source, "options": ["rbind", "ro"]}
        for target, source in sources.items()
    ]
    kinds = zip(NO_FILES, ("proc", "tmpfs"), strict=True)
    return [*({"destination": target, "type": kind, "source": kind} for target, kind in kinds), *binds]
