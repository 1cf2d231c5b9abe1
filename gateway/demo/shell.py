"""The boundary of what runs in a container of the embedded cluster: a scripted shell of a few programs.

A program is an asynchronous function from its arguments and streams to an exit code; `sh -c` runs a line of them.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Write = Callable[[bytes], Awaitable[None]]
"""Awaits until the caller has room: a program that writes for ever is slowed down by who reads."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What a process reads and writes. `read` returns nothing at the end of its input."""

    read: Callable[[], Awaitable[bytes]]
    out: Write
    err: Write


@dataclass(frozen=True, slots=True)
class Container:
    """What programs see of where they run."""

    pod: str
    environment: Mapping[str, str]
    files: Mapping[str, bytes]


class NoSuchProgramError(Exception):
    """The container has no such program; nothing was run."""


async def _echo(container: Container, words: list[str], streams: Streams) -> int:
    del container
    end = "" if words[1:2] == ["-n"] else "\n"
    await streams.out((" ".join(words[2:] if not end else words[1:]) + end).encode())
    return 0


async def _cat(container: Container, words: list[str], streams: Streams) -> int:
    if not words[1:]:
        while data := await streams.read():
            await streams.out(data)
        return 0
    failed = 0
    for path in words[1:]:
        if path in container.files:
            await streams.out(container.files[path])
        else:
            await streams.err(f"cat: can't open '{path}': No such file or directory\n".encode())
            failed = 1
    return failed


async def _env(container: Container, words: list[str], streams: Streams) -> int:
    del words
    await streams.out("".join(f"{key}={value}\n" for key, value in container.environment.items()).encode())
    return 0


async def _ls(container: Container, words: list[str], streams: Streams) -> int:
    where = next((word for word in words[1:] if not word.startswith("-")), "/").rstrip("/") + "/"
    names = {path.removeprefix(where).partition("/")[0] for path in container.files if path.startswith(where)}
    if where == "/":
        names |= {"bin", "dev", "etc", "proc", "sys", "tmp", "var"}
    if not names:
        await streams.err(f"ls: {where.rstrip('/')}: No such file or directory\n".encode())
        return 1
    await streams.out("".join(f"{name}\n" for name in sorted(names)).encode())
    return 0


async def _sleep(container: Container, words: list[str], streams: Streams) -> int:
    del container
    if len(words) < 2:
        await streams.err(b"BusyBox multi-call binary.\n\nUsage: sleep [N]...\n")
        return 1
    await asyncio.sleep(float(words[1].rstrip("s")))
    return 0


async def _yes(container: Container, words: list[str], streams: Streams) -> int:
    del container
    line = (" ".join(words[1:]) or "y").encode() + b"\n"
    block = line * max(1, 4096 // len(line))
    while True:
        await streams.out(block)


async def _true(container: Container, words: list[str], streams: Streams) -> int:
    del container, words, streams
    return 0


async def _false(container: Container, words: list[str], streams: Streams) -> int:
    del container, words, streams
    return 1


async def _hostname(container: Container, words: list[str], streams: Streams) -> int:
    del words
    await streams.out(f"{container.pod}\n".encode())
    return 0


async def _timeout(container: Container, words: list[str], streams: Streams) -> int:
    rest = [word for word in words[1:] if not word.startswith("-")]
    if rest[:1] and "-k" in words:
        rest = rest[1:]
    try:
        return await asyncio.wait_for(run(container, rest[1:], streams), float(rest[0].rstrip("s")))
    except TimeoutError:
        return 143


async def _watching(container: Container, words: list[str], streams: Streams) -> int:
    """Run a program until it ends or the input does: what a script comes to that watches its input and runs `"$@"`."""

    async def nothing() -> bytes:
        return b""

    async def end_of_input() -> None:
        while await streams.read():
            pass

    running = asyncio.ensure_future(run(container, words, Streams(nothing, streams.out, streams.err)))
    watching = asyncio.ensure_future(end_of_input())
    try:
        await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
        return running.result() if running.done() else 137
    except NoSuchProgramError as error:
        await streams.err(f"sh: {error}: not found\n".encode())
        return 127
    finally:
        for task in (running, watching):
            task.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)


async def _sh(container: Container, words: list[str], streams: Streams) -> int:
    if words[1:2] == ["-c"] and '"$@"' in words[2] and "read" in words[2]:
        return await _watching(container, words[4:], streams)
    if words[1:2] != ["-c"]:
        line = b""
        while data := await streams.read():
            line += data
        return await _line(container, line.decode(errors="replace"), streams)
    return await _line(container, words[2] if len(words) > 2 else "", streams)


def _commands(text: str) -> list[tuple[str, list[str]]]:
    """Split a line into commands, each with what stands before it: nothing, `;`, `&&` or `||`."""
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[tuple[str, list[str]]] = [("", [])]
    for word in lexer:
        if word in {";", "&&", "||", "&"}:
            commands.append((word, []))
        else:
            commands[-1][1].append(word)
    return [(before, words) for before, words in commands if words]


async def _line(container: Container, text: str, streams: Streams) -> int:
    code = 0
    for before, words in _commands(text):
        if (before == "&&" and code) or (before == "||" and not code):
            continue
        if words[0] == "exit":
            return int(words[1]) if len(words) > 1 else code
        if words[0] == "exec":
            words.pop(0)
        target = streams
        if ">&2" in words or words[-2:] == [">&", "2"]:
            target = Streams(streams.read, streams.err, streams.err)
        said = [word for word in words if target is streams or word not in {">&2", ">&", "2"}]
        expanded = [container.environment.get(word[1:], "") if word.startswith("$") else word for word in said]
        try:
            code = await run(container, expanded, target)
        except NoSuchProgramError:
            await streams.err(f"sh: {expanded[0]}: not found\n".encode())
            code = 127
    return code


_PROGRAMS: dict[str, Callable[[Container, list[str], Streams], Awaitable[int]]] = {
    "echo": _echo,
    "cat": _cat,
    "env": _env,
    "printenv": _env,
    "ls": _ls,
    "sleep": _sleep,
    "yes": _yes,
    "true": _true,
    "false": _false,
    "hostname": _hostname,
    "timeout": _timeout,
    "sh": _sh,
}


async def run(container: Container, words: list[str], streams: Streams) -> int:
    """Run a program to its end and return its exit code; raises NoSuchProgramError when there is none of that name."""
    program = _PROGRAMS.get(words[0].rpartition("/")[2]) if words else None
    if program is None:
        raise NoSuchProgramError(words[0] if words else "")
    return await program(container, words, streams)
