"""The boundary of what one embedded cluster is made of, handed to every handler."""

from dataclasses import dataclass, field

from gateway.demo.discovery import Discovery
from gateway.demo.identity import Keys
from gateway.demo.logs import Logs
from gateway.demo.rbac import Authorizer
from gateway.demo.store import Store

GIT_VERSION = "v1.36.3+embedded"


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
    authorizer: Authorizer = field(init=False)

    def __post_init__(self) -> None:
        self.authorizer = Authorizer(self.store)
