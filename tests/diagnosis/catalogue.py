"""Boundary between the catalogue's files and a cluster: worlds as objects, applied, asked about and judged."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import bpe_openai
import orjson
import yaml

from gateway.demo import EmbeddedCluster
from tests.cluster.cluster import RealCluster
from tests.workbench import Workbench, listed

FOLDER = Path(__file__).parent
IMAGE = {"image": "local.test/busybox:1", "imagePullPolicy": "Never", "command": ["sleep", "1000"]}
CLUSTER_WIDE = {
    "PersistentVolume",
    "StorageClass",
    "IngressClass",
    "ValidatingWebhookConfiguration",
    "Node",
    "APIService",
}
TOKENS = bpe_openai.get_encoding("o200k_base")

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """One world: its objects in the order in which they are made, what is asked, and what must come out.

    `finds` is the rule that must come first, empty for a world in which nothing is wrong; `notes` the notice that may
    be told there.
    """

    name: str
    objects: tuple[Obj, ...]
    after: tuple[Obj, ...]
    ask: str
    finds: str
    says: tuple[str, ...]
    notes: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one question gave, and what it cost."""

    world: World
    text: str
    data: Obj
    tokens: int
    requests: int
    seconds: float

    @property
    def first(self) -> str:
        """The id of the first finding, or nothing."""
        findings = self.data["findings"]
        return str(findings[0]["id"]) if findings else ""

    @property
    def problem(self) -> str:
        """Why it is not what it must be, or nothing."""
        line = self.text.partition("\n")[0]
        if not self.world.finds:
            ids = {finding["id"] for finding in self.data["findings"]}
            if not self.data["healthy"] or ids - {self.world.notes}:
                return f"alarm: {line} {sorted(ids)}"
            return "" if not self.world.notes or ids else f"no notice {self.world.notes}"
        missing = [word for word in self.world.says if word not in line]
        if self.first != self.world.finds:
            return f"finds {self.first or 'nothing'}, not {self.world.finds}: {line}"
        return f"does not say {missing}: {line}" if missing else ""


def load(file: str) -> tuple[World, ...]:
    """Read the worlds of a file of the catalogue."""
    return tuple(_world(entry) for entry in yaml.safe_load((FOLDER / file).read_text()))


def _world(entry: Obj) -> World:
    name = entry["name"]
    space: Obj = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": entry.get("labels", {})},
    }
    web = [] if entry.get("kind") == "none" else [_web(entry)]
    objects = [deepcopy(each) for each in (*entry.get("before", ()), *entry.get("others", ()), *web)]
    for each in objects:
        if each["kind"] not in CLUSTER_WIDE:
            each["metadata"]["namespace"] = name
    return World(
        name,
        (space, *objects),
        tuple(entry.get("after", ())),
        entry.get("ask", "deploy/web"),
        entry.get("finds", ""),
        tuple(entry.get("says", ())),
        entry.get("notes", ""),
    )


def _web(entry: Obj) -> Obj:
    pod = {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, **entry.get("pod", {})}
    pod["containers"] = [{"name": "web", **IMAGE, **entry.get("container", {})}, *pod.get("containers", ())]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **entry.get("spec", {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


async def build(cluster: RealCluster, worlds: Iterable[World]) -> None:
    """Make the worlds, all at once."""
    worlds = tuple(worlds)
    for world in worlds:
        await cluster.apply(yaml.safe_dump_all(world.objects))
    for world in worlds:
        for step in world.after:
            if step.get("delete"):
                status, body = await cluster.request("DELETE", step["path"])
            else:
                status, body = await cluster.request(
                    "PATCH", step["path"], step["patch"], content_type="application/strategic-merge-patch+json"
                )
            assert status < 300, body


@asynccontextmanager
async def asking(cluster: RealCluster) -> AsyncIterator[Workbench]:
    """Hold a workbench on a real cluster."""
    alike = cast("EmbeddedCluster", cluster)  # the same shape, as far as a workbench uses it
    async with Workbench(alike, listed(alike)) as bench:
        yield bench


async def ask(bench: Workbench, world: World) -> Outcome:
    """Ask about one world, as text and as data; the figures are those of the text."""
    kind, _, name = world.ask.partition("/")
    arguments = {"resource": kind, "name": name, "namespace": world.name}
    if kind == "namespace":
        arguments = {"namespace": name}
    before, started = len(bench.records), time.perf_counter()
    text = await bench.call("diagnose", arguments)
    seconds, requests = time.perf_counter() - started, len(bench.records) - before
    data = orjson.loads(await bench.call("diagnose", {**arguments, "output": "json"}))
    return Outcome(world, text, data, len(TOKENS.encode(text)), requests, seconds)


async def settle(bench: Workbench, worlds: Iterable[World], seconds: float) -> list[Outcome]:
    """Ask about each world until it is what it must be, at most so long; return the last answers, in order."""
    outcomes: dict[str, Outcome] = {}
    worlds = tuple(worlds)
    pending = list(worlds)
    end = time.monotonic() + seconds
    while pending:
        for world in pending:
            outcomes[world.name] = await ask(bench, world)
        pending = [world for world in pending if outcomes[world.name].problem]
        if time.monotonic() > end:
            break
        if pending:
            await asyncio.sleep(2)  # kubelet, scheduler and controllers take their time
    return [outcomes[world.name] for world in worlds]
