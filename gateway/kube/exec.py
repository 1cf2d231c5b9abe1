"""Boundary to a command in a container: one exec on a connection of its own, started once and not left running.

Channels and their closing are those of the Kubernetes remote command protocol, v4 and v5 (KEP-4006). Neither has a way
to end a command, and closing the connection ends none. What closing does end is the command's input; so a command runs
below a shell that watches its own input for that, wherever the container has a shell.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp
import orjson
from yarl import URL

from gateway.kube.client import ApiServer, read_body, unreachable
from gateway.kube.credential import BearerToken
from gateway.kube.errors import Unreachable, error_from

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SWITCHED: Final = 101
"""The HTTP status with which a command was started (RFC 6455, section 4.1)."""
_STDOUT, _STDERR, _STATUS, _CLOSE = 1, 2, 3, 255
_CLOSE_STDIN: Final = bytes((_CLOSE, 0))
GRACE: Final = 3.0
"""Seconds for a command to end after its input was closed: the guard's TERM, a second, its KILL, and the way back."""
_LAST_BYTES: Final = 1.0
"""Seconds for output that is still on its way when the exit code has come: the channels are not ordered."""
_REFUSAL: Final = 64 * 1024
"""Bytes of a refusal's body that are read."""

_GUARD: Final = """\
exec 3<&0
"$@" 3<&- </dev/null & child=$!
{ while read -r _; do :; done; trap : TERM; kill -TERM -$$ || kill -TERM $child; sleep 1
kill -KILL -$$ || kill -KILL $child; } <&3 3<&- >/dev/null 2>&1 & guard=$!
exec 3<&-
trap ended=1 TERM
{ wait $child; code=$?
[ "$ended" ] && wait $guard
kill -KILL $guard; wait $guard; } 2>/dev/null
exit $code
"""
"""Runs its arguments; at the end of its own input, which nothing is ever written to, ends them and all they started.

POSIX shell, builtins alone but for `sleep`, without which KILL follows TERM at once. The shell is the leader of its
process group (container runtimes give each exec a session), so the group is the command with its children; where it is
not, the command alone is ended. The guard ends with the command. The shell keeps its output open as long as it lives:
containerd closes the input of what has closed its output.
"""


def guarded(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command below a shell that ends it when its connection ends."""
    return ("sh", "-c", _GUARD, "sh", *command)


def exec_query(command: Sequence[str], container: str, *, stdin: bool) -> tuple[tuple[str, str], ...]:
    """Return the query of an exec (PodExecOptions): output kept apart, no terminal."""
    words = tuple(("command", word) for word in command)
    return (*words, ("container", container), ("stdin", str(stdin).lower()), ("stdout", "true"), ("stderr", "true"))


@dataclass(frozen=True, slots=True)
class ExecLimits:
    """Seconds a command may take, bytes it may write, and bytes kept of each stream's beginning and of its end."""

    seconds: float
    kept: int
    written: int


@dataclass(frozen=True, slots=True)
class Output:
    """What one stream wrote: its beginning and its end, and its size in bytes, some of which may lie between."""

    head: bytes
    tail: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command.

    `stopped` says why the gateway ended it, or that the connection broke; `ended` whether its end was seen. `exit_code`
    is None where it has none; `failure` is then what the container's runtime says. Only where the `protocol` can close
    the input alone can the end of a stopped command be seen.
    """

    protocol: str

    stdout: Output
    stderr: Output
    stopped: Literal["", "time", "bytes", "broken"]
    ended: bool
    exit_code: int | None
    failure: str
    seconds: float

    @property
    def lacks_shell(self) -> bool:
        """Whether the container has no shell, so that a guarded command was not started at all."""
        said = self.failure.lower()
        return (
            self.ended
            and not (self.stdout.size or self.stderr.size)
            and any(f"{quote}sh{quote}" in said for quote in "\"'`")
            and any(words in said for words in ("not found", "no such file", "cannot find"))
        )


@dataclass(slots=True)
class _Kept:
    limit: int
    size: int = 0
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = self.limit - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > 2 * self.limit:
            del self.tail[: -self.limit]

    def output(self) -> Output:
        return Output(bytes(self.head), bytes(self.tail[-self.limit :]), self.size)


@asynccontextmanager
async def started(
    server: ApiServer, target: str, token: BearerToken, headers: dict[str, str] | None = None
) -> AsyncIterator["Command"]:
    """Have a command started, by the escaped path and query of its exec; leaving this closes its connection.

    Raises:
        ApiError: It was not started.
        Unreachable: There was no answer; `sent` says whether it may have been started.
    """
    timeouts = server.timeouts
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, ssl=server.tls, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_read=timeouts.first_byte),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        middlewares=(_once,),
    ) as session:
        try:
            socket = await session.ws_connect(
                URL(server.address.url + target, encoded=True),
                headers={**(headers or {}), "Authorization": f"Bearer {token.value}"},
                protocols=PROTOCOLS,
                timeout=aiohttp.ClientWSTimeout(ws_close=_LAST_BYTES),
                server_hostname=server.address.tls_server_name or None,
            )
        except aiohttp.WSServerHandshakeError:
            # Not chained: that error's repr has the request's headers, the token among them.
            raise Unreachable("reset", "its answer does not open a WebSocket", sent=True) from None
        async with socket:
            yield Command(socket)


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send the request once, take no other answer than the WebSocket, and follow none.

    aiohttp sends a GET again when its connection drops, which would run the command twice; it does so by its own
    errors, so none of them leaves this.
    """
    try:
        response = await handler(request)
        if response.status == SWITCHED:
            return response
        body = await read_body(response, _REFUSAL)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(error) from None
    raise error_from(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


class Command:
    """A command that runs."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        """Take over its connection."""
        self._socket = socket
        self._streams: dict[int, _Kept] = {}
        self._status: dict[str, Any] | None = None

    async def finish(self, limits: ExecLimits) -> Ran:
        """Read until the command has ended, or end it at a limit and wait at most `GRACE` for that."""
        began = time.monotonic()
        self._streams = {_STDOUT: _Kept(limits.kept), _STDERR: _Kept(limits.kept)}
        stopped: Literal["", "time", "bytes", "broken"] = (
            "" if await self._read(limits.seconds, limits.written) else "time"
        )
        if stopped or (self._status is None and self._written() > limits.written):
            stopped = stopped or "bytes"
            if self._socket.protocol == PROTOCOLS[0]:
                await self._close_input()
                await self._read(GRACE, None)
        elif self._status is None:
            stopped = "broken"
        stdout, stderr = (kept.output() for kept in self._streams.values())
        code, failure = _outcome(self._status)
        protocol = self._socket.protocol or ""
        return Ran(protocol, stdout, stderr, stopped, self._status is not None, code, failure, time.monotonic() - began)

    def _written(self) -> int:
        return sum(kept.size for kept in self._streams.values())

    async def _close_input(self) -> None:
        # Where the connection is closed already, so is the input.
        with suppress(aiohttp.ClientError, OSError):
            await self._socket.send_bytes(_CLOSE_STDIN)

    async def _read(self, seconds: float, written: int | None) -> bool:
        """Read until the connection ends or more than `written` bytes have come; False when the time is up first."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as deadline:
                async for message in self._socket:
                    if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                        continue
                    channel, data = message.data[0], message.data[1:]
                    if channel in self._streams:
                        self._streams[channel].add(data)
                        if written is not None and self._written() > written:
                            return True
                    elif channel == _STATUS and data:
                        self._status = _parsed(data)
                        deadline.reschedule(loop.time() + _LAST_BYTES)
        except TimeoutError:
            return self._status is not None
        return True


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {"message": data.decode("utf-8", "replace")}


def _outcome(status: dict[str, Any] | None) -> tuple[int | None, str]:
    """Return exit code and failure of the Status on channel 3, one of them, or neither where none came."""
    if status is None:
        return None, ""
    if status.get("status") == "Success":
        return 0, ""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode" and str(cause.get("message")).isdecimal():
            return int(cause["message"]), ""
    return None, str(status.get("message") or "the container's runtime failed without a word")
