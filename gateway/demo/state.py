"""The boundary of what one embedded cluster is made of, handed to every handler."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gateway.demo.discovery import Discovery
from gateway.demo.identity import Keys
from gateway.demo.logs import Logs
from gateway.demo.rbac import Authorizer
from gateway.demo.store import Store

MOMENT = 0.01
"""Seconds that controllers let pass before they look at what was written, so as to look once at many writes."""

GIT_VERSION = "v1.36.3+embedded"


@dataclass(frozen=True, slots=True)
class Crash:
    """Containers of an image end with code 1 as long as a key of a ConfigMap is empty."""

    image: str
    namespace: str
    config_map: str
    key: str
    log: str

    def holds(self, state: "State") -> bool:
        """Say whether it would crash now."""
        found = state.store.get(("", "configmaps"), self.namespace, self.config_map) or {}
        return not (found.get("data") or {}).get(self.key)


@dataclass(slots=True)
class State:
    """One cluster's moving parts. Handlers change them; nothing else keeps state."""

    name: str
    keys: Keys
    store: Store = field(default_factory=Store)
    discovery: Discovery = field(default_factory=Discovery)
    logs: Logs = field(default_factory=Logs)
    address: str = ""
    """Host and port, known once it listens."""
    compacted: int = 0
    """Continue tokens and watches from before this revision are refused with 410."""
    served_definitions: set[str] = field(default_factory=set)
    """The groups of the custom resources that are served."""
    missing_images: set[str] = field(default_factory=set)
    """Images that no registry has."""
    crashes: list[Crash] = field(default_factory=list)
    timers: set[asyncio.TimerHandle] = field(default_factory=set)
    awaited: set[Hashable] = field(default_factory=set)
    authorizer: Authorizer = field(init=False)

    def __post_init__(self) -> None:
        self.authorizer = Authorizer(self.store)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds, unless the cluster is stopped before; needs a running event loop."""

        def run() -> None:
            self.timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self.timers.add(timer)

    def soon(self, what: Hashable, act: Callable[[], None]) -> None:
        """Do something once in a moment, however often it is asked for until then."""
        if what in self.awaited:
            return
        self.awaited.add(what)

        def once() -> None:
            self.awaited.discard(what)
            act()

        self.later(MOMENT, once)

    def stop(self) -> None:
        """Forget what was to be done later."""
        self.awaited.clear()
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
