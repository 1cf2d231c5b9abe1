import asyncio
import os
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from shutil import which

import orjson
import pytest
from aiohttp import WSMsgType, web

from gateway.kube.credential import BearerToken
from gateway.kube.errors import Invalid, NotFound, Redirected, ServerFault, Unreachable
from gateway.kube.exec import PROTOCOLS, ExecLimits, Output, Ran, exec_query, guarded, started
from tests.kube.conftest import AUTHORITY, FRUGAL, Connect, Script, ok, saying

TOKEN = BearerToken.of("kJ8sd0-the-token-nobody-may-see")
WAY = "/api/v1/namespaces/demo/pods/web/exec?command=true"
LIMITS = ExecLimits(seconds=5, kept=100, written=10_000)
HUNG_UP = {WSMsgType.CLOSE, WSMsgType.CLOSED}
SHELLS = {name: path for name in ("dash", "bash", "busybox") if (path := which(name))}

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]
Kubelet = Callable[..., Awaitable[str]]


def status(code: int) -> bytes:
    """Return channel 3's frame for an exit code, as a kubelet writes it."""
    if code == 0:
        return b'\x03{"metadata":{},"status":"Success"}'
    causes = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return b"\x03" + orjson.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": causes})


def frames(*sent: bytes) -> Talk:
    """Send these frames, then close."""

    async def talk(socket: web.WebSocketResponse) -> None:
        for frame in sent:
            await socket.send_bytes(frame)

    return talk


@pytest.fixture
async def kubelet() -> AsyncIterator[Kubelet]:
    """Give a way to start API servers that take an exec and talk as told; they speak these protocols."""
    async with AsyncExitStack() as stack:

        async def start(talk: Talk, protocols: Sequence[str] = PROTOCOLS) -> str:
            async def answer(request: web.BaseRequest) -> web.StreamResponse:
                socket = web.WebSocketResponse(protocols=protocols)
                await socket.prepare(request)
                with suppress(ConnectionError):
                    await talk(socket)
                await socket.close()
                return socket

            runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=AUTHORITY.serving_context())
            await site.start()
            return f"https://127.0.0.1:{runner.addresses[0][1]}"

        yield start


@pytest.fixture
def run(connect: Connect) -> Callable[..., Awaitable[Ran]]:
    """Give a way to run a command at a server's URL."""

    async def run(url: str, limits: ExecLimits = LIMITS) -> Ran:
        async with started(connect(url), WAY, TOKEN) as command:
            return await command.finish(limits)

    return run


Run = Callable[..., Awaitable[Ran]]


async def test_output_is_kept_apart_and_the_exit_code_read(kubelet: Kubelet, run: Run) -> None:
    """Standard output, standard error and the exit code come from a channel each."""
    ran = await run(await kubelet(frames(b"\x01", b"\x01out", b"\x02err", b"\x01 more", status(7))))
    assert (ran.stdout.head, ran.stderr.head, ran.exit_code) == (b"out more", b"err", 7)
    assert (ran.ended, ran.stopped, ran.failure, ran.protocol) == (True, "", "", PROTOCOLS[0])


async def test_success_is_exit_code_zero(kubelet: Kubelet, run: Run) -> None:
    """A Status of success has no exit code in it, and means one."""
    assert (await run(await kubelet(frames(status(0))))).exit_code == 0


async def test_output_that_overtakes_the_exit_code_is_not_lost(kubelet: Kubelet, run: Run) -> None:
    """The channels are not ordered: what comes after the exit code belongs to the command."""
    ran = await run(await kubelet(frames(status(0), b"\x01late")))
    assert ran.stdout.head == b"late"


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (b'{"status":"Failure","message":"no such file"}', "no such file"),
        (b"oops", "oops"),
        (b"[]", "[]"),
        (b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}', "without a word"),
        (b'{"status":"Failure","details":7}', "without a word"),
    ],
)
async def test_a_failure_to_start_is_told(kubelet: Kubelet, run: Run, said: bytes, failure: str) -> None:
    """Whatever stands on channel 3 without an exit code is why there is none."""
    ran = await run(await kubelet(frames(b"\x03" + said)))
    assert ran.exit_code is None
    assert ran.ended
    assert failure in ran.failure


def without_token(error: Unreachable) -> Unreachable:
    """Return the error, nothing of which that could be printed may hold the token."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__)
    assert TOKEN.value not in shown
    return error


async def test_a_request_that_may_have_arrived_is_never_sent_again(script: Script, connect: Connect) -> None:
    """A connection that drops before the answer must not run a command twice."""
    server = await script(saying(close=True))
    with pytest.raises(Unreachable) as caught:
        async with started(connect(server.url), WAY, TOKEN):
            pytest.fail("nothing was started")
    assert without_token(caught.value).sent
    assert len(server.heads) == 1


async def test_the_way_and_the_token_are_sent_as_they_are(script: Script, connect: Connect) -> None:
    """The request is the escaped target, with the caller's token and both generations of the protocol."""
    server = await script(saying(ok(status="404 Not Found")))
    with pytest.raises(NotFound):
        async with started(connect(server.url), WAY, TOKEN):
            pytest.fail("nothing was started")
    assert server.heads[0].startswith(f"GET {WAY} HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN.value}" in server.heads[0]
    assert f"Sec-WebSocket-Protocol: {','.join(PROTOCOLS)}" in server.heads[0]
    assert "User-Agent" not in server.heads[0]


@pytest.mark.parametrize(
    ("line", "body", "error"),
    [
        ("400 Bad Request", b'{"kind":"Status","message":"container nix is not valid for pod web"}', Invalid),
        ("500 Internal Server Error", b'container not found ("main")', ServerFault),
        ("200 OK", b"no WebSocket here", ServerFault),
    ],
)
async def test_a_refusal_is_told_in_its_own_words(
    script: Script, connect: Connect, line: str, body: bytes, error: type[Exception]
) -> None:
    """The body of an answer that is no WebSocket says why, and is read."""
    server = await script(saying(ok(body, status=line)))
    with pytest.raises(error, match=r"container|WebSocket"):
        async with started(connect(server.url), WAY, TOKEN):
            pytest.fail("nothing was started")


async def test_no_redirect_is_followed(script: Script, connect: Connect) -> None:
    """A command and its token go to the listed address alone."""
    elsewhere = await script(saying(ok()))
    moved = ok(b"", f"Location: {elsewhere.url}/", status="307 Temporary Redirect")
    server = await script(saying(moved))
    with pytest.raises(Redirected):
        async with started(connect(server.url), WAY, TOKEN):
            pytest.fail("nothing was started")
    assert elsewhere.connections == 0


async def test_an_answer_that_opens_no_websocket_is_none(script: Script, connect: Connect) -> None:
    """A 101 without the key's answer (RFC 6455, section 4.2.2) starts nothing that could be talked to."""
    server = await script(saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
    with pytest.raises(Unreachable) as caught:
        async with started(connect(server.url), WAY, TOKEN):
            pytest.fail("nothing was started")
    assert without_token(caught.value).sent


async def test_nobody_there_means_not_sent(connect: Connect) -> None:
    """Where nothing answers, the command has certainly not run."""
    with pytest.raises(Unreachable) as caught:
        async with started(connect("https://127.0.0.1:1"), WAY, TOKEN):
            pytest.fail("nothing was started")
    assert not without_token(caught.value).sent


async def test_at_the_time_limit_the_input_is_closed_and_the_end_awaited(kubelet: Kubelet, run: Run) -> None:
    """Version 5 closes the input alone, so that the exit code still comes; nothing is ever written to it."""
    received: list[bytes] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x01begun")
        received.append((await socket.receive()).data)
        await socket.send_bytes(status(137))

    ran = await run(await kubelet(talk), ExecLimits(0.1, 100, 1000))
    assert received == [b"\xff\x00"]
    assert (ran.stopped, ran.ended, ran.exit_code, ran.stdout.head) == ("time", True, 137, b"begun")


async def test_version_4_ends_the_input_with_the_connection(kubelet: Kubelet, run: Run) -> None:
    """Version 4 can't close the input alone: the connection ends, and the end of the command is not seen."""
    hung_up = asyncio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        assert (await socket.receive()).type in HUNG_UP
        hung_up.set()

    ran = await run(await kubelet(talk, PROTOCOLS[1:]), ExecLimits(0.1, 100, 1000))
    assert (ran.stopped, ran.ended, ran.exit_code, ran.protocol) == ("time", False, None, PROTOCOLS[1])
    async with asyncio.timeout(FRUGAL.call):
        await hung_up.wait()


async def test_a_process_that_does_not_end_is_not_waited_for(kubelet: Kubelet, run: Run) -> None:
    """After the grace the answer is that its end was not seen."""
    over = asyncio.Event()

    async def talk(_socket: web.WebSocketResponse) -> None:
        await over.wait()

    try:
        async with asyncio.timeout(4):
            ran = await run(await kubelet(talk), ExecLimits(0.1, 100, 1000))
    finally:
        over.set()
    assert (ran.stopped, ran.ended) == ("time", False)


async def test_output_without_end_is_ended_and_kept_in_bounds(kubelet: Kubelet, run: Run) -> None:
    """A command that writes for ever is ended when it has written enough; beginning and end of that are kept."""
    told = asyncio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        async def flood() -> None:
            await socket.send_bytes(b"\x01first")
            while not told.is_set():
                await socket.send_bytes(b"\x01" + b"x" * 1000)
            await socket.send_bytes(b"\x01last")
            await socket.send_bytes(status(137))

        flooding = asyncio.create_task(flood())
        assert (await socket.receive()).data == b"\xff\x00"
        told.set()
        await flooding

    ran = await run(await kubelet(talk), ExecLimits(5, 100, 10_000))
    assert (ran.stopped, ran.ended) == ("bytes", True)
    assert ran.stdout.size > 10_000
    assert ran.stdout.head == b"first" + b"x" * 95
    assert ran.stdout.tail == b"x" * 96 + b"last"


async def test_the_beginning_and_the_end_are_all_of_a_short_output(kubelet: Kubelet, run: Run) -> None:
    """What fits into both is all there, in order and once."""
    ran = await run(await kubelet(frames(b"\x01" + bytes(range(150)), b"\x01" + bytes(range(30)), status(0))))
    assert ran.stdout.head + ran.stdout.tail == bytes(range(150)) + bytes(range(30))
    assert ran.stdout.size == 180


async def test_a_connection_that_breaks_is_no_end(kubelet: Kubelet, run: Run) -> None:
    """Without a word on channel 3 nobody knows what became of the command."""
    ran = await run(await kubelet(frames(b"\x01half")))
    assert (ran.stopped, ran.ended, ran.exit_code, ran.stdout.head) == ("broken", False, None, b"half")


async def test_a_caller_who_leaves_ends_the_input(kubelet: Kubelet, connect: Connect) -> None:
    """Cancelling closes the connection, which the guard in the container takes for the end."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def talk(socket: web.WebSocketResponse) -> None:
        begun.set()
        assert (await socket.receive()).type in HUNG_UP
        closed.set()

    async def run() -> None:
        async with started(connect(await kubelet(talk)), WAY, TOKEN) as command:
            await command.finish(LIMITS)

    running = asyncio.create_task(run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(FRUGAL.call):
        await closed.wait()


def test_the_query_keeps_the_words_apart() -> None:
    """Each word is a parameter of its own, in order, and there is no terminal that would merge the streams."""
    assert exec_query(["ls", "-l"], "main", stdin=False) == (
        ("command", "ls"),
        ("command", "-l"),
        ("container", "main"),
        ("stdin", "false"),
        ("stdout", "true"),
        ("stderr", "true"),
    )


NOTHING = Output(b"", b"", 0)


@pytest.mark.parametrize(
    "failure",
    [
        'exec failed: unable to start container process: exec: "sh": executable file not found in $PATH',
        "OCI runtime exec failed: executable file `sh` not found in $PATH: No such file or directory",
        'exec: "sh": stat sh: no such file or directory',
    ],
)
def test_a_container_without_a_shell_is_known_by_its_runtime_s_words(failure: str) -> None:
    """Container runtimes word it differently; all mean that nothing was started."""
    assert Ran("", NOTHING, NOTHING, "", ended=True, exit_code=None, failure=failure, seconds=0).lacks_shell


@pytest.mark.parametrize(
    ("failure", "stdout", "ended"),
    [
        ('exec: "sh": executable file not found in $PATH', Output(b"x", b"", 1), True),
        ('exec: "sh": executable file not found in $PATH', NOTHING, False),
        ('exec: "ls": executable file not found in $PATH', NOTHING, True),
        ('exec: "sh": permission denied', NOTHING, True),
    ],
)
def test_only_what_was_certainly_not_started_lacks_a_shell(failure: str, stdout: Output, ended: bool) -> None:  # noqa: FBT001
    """A command that may have begun must not be run again."""
    assert not Ran("", stdout, NOTHING, "", ended=ended, exit_code=None, failure=failure, seconds=0).lacks_shell


@pytest.fixture(params=list(SHELLS.values()), ids=list(SHELLS))
async def shell(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    """Give a way to run guarded commands as a container runtime does: in a session, with that shell as `sh`."""
    (tmp_path / "sh").symlink_to(request.param)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    running: list[asyncio.subprocess.Process] = []

    async def run(*command: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        running.append(
            await asyncio.create_subprocess_exec(
                *guarded(command), stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
            )
        )
        return running[-1]

    yield run
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


Shell = Callable[..., Awaitable[asyncio.subprocess.Process]]


async def test_the_guard_changes_nothing_of_a_command(shell: Shell) -> None:
    """Words, both streams and the exit code are the command's own, and it has no input."""
    process = await shell("sh", "-c", 'echo "$1"; cat; echo err >&2; exit 5', "x", "a b '*'")
    assert process.stdout is not None
    assert process.stderr is not None
    assert (await process.stdout.read(), await process.stderr.read()) == (b"a b '*'\n", b"err\n")
    assert await process.wait() == 5


async def test_a_program_that_is_not_there_is_127(shell: Shell) -> None:
    """A shell says so in words of its own."""
    process = await shell("no-such-program")
    assert process.stderr is not None
    assert b"not found" in await process.stderr.read()
    assert await process.wait() == 127


async def test_the_end_of_its_input_ends_a_command_with_all_it_started(shell: Shell) -> None:
    """Neither ignoring the end of input nor ignoring TERM, nor being somebody's child, keeps a process alive."""
    script = "trap '' TERM; (trap '' TERM; echo child; exec sleep 1000) & echo parent; sleep 1000; sleep 1000"
    process = await shell("sh", "-c", script)
    assert process.stdin is not None
    assert process.stdout is not None
    assert {await process.stdout.readline() for _ in range(2)} == {b"child\n", b"parent\n"}
    process.stdin.close()
    # The output ends when nobody has it open any more: the last of the processes is gone.
    assert await asyncio.wait_for(process.stdout.read(), 20) == b""


async def test_a_command_may_end_tidily(shell: Shell) -> None:
    """TERM comes first, and with it the time to put things in order."""
    process = await shell("sh", "-c", "trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert await asyncio.wait_for(process.stdout.read(), 20) == b"tidy\n"
