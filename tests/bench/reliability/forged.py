"""A flood of tokens that somebody made up, beside callers with real ones."""

import asyncio
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.embedded import World, embedded
from tests.bench.load import MODERN, CallFailedError, Client, Target
from tests.bench.processes import Served, gateway, tell
from tests.bench.reliability.choice import Choice, on_cores
from tests.bench.reliability.paced import call_at_pace, target, warm
from tests.bench.report import Result, Spread, Table

PACE = 10.0
CALLERS = 10
FORGERS = 4
FLOOD = 200.0
"""Forged tokens a second, in all; a pace, because who sends them shares a core with the real callers."""


def forged(token: str) -> str:
    """Return a token that says what the real one does, under another id, with a signature of chance."""
    header, claims, _ = token.split(".")
    said = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    said["jti"] = secrets.token_hex(8)
    parts = (header, _encoded(json.dumps(said).encode()), _encoded(secrets.token_bytes(64)))
    return ".".join(parts)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def run(choice: Choice) -> Result:
    """Measure real callers without and with the flood, in turns."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = stack.enter_context(embedded(World(clusters=1, callers=CALLERS)))
        served = stack.enter_context(gateway(Path(folder), [each.listed() for each in world.clusters]))
        on_cores(served.pid, world.pid)
        callers = [target(served, world.clusters[0], number) for number in range(CALLERS)]
        return asyncio.run(_measured(choice, served, callers))


async def _measured(choice: Choice, served: Served, callers: list[Target]) -> Result:
    del served
    await warm(callers)
    found: dict[bool, list[float]] = {False: [], True: []}
    answers: Counter[str] = Counter()
    seconds = 0.0
    for number in range(choice.rounds):
        for flooded, times in found.items():
            tell(f"forged: round {number + 1}, {'flood' if flooded else 'calm'}")
            floods = [
                [forged(callers[0].token) for _ in range(int(choice.seconds * FLOOD / FORGERS))]
                for _ in range(FORGERS if flooded else 0)
            ]
            until = time.perf_counter() + choice.seconds
            async with asyncio.TaskGroup() as group:
                for tokens in floods:
                    group.create_task(_flood(callers[0], tokens, until, answers))
                seen = await call_at_pace(callers, PACE, choice.seconds)
            assert set(seen.ends) == {"ok"}, seen.ends
            times.append(seen.p99)
            seconds += choice.seconds if flooded else 0
    calm, flood = Spread.of(found[False]), Spread.of(found[True])
    rows = [
        ("0", str(calm), "1.00"),
        (f"{sum(answers.values()) / seconds:.0f}", str(flood), f"{flood.median / calm.median:.2f}"),
    ]
    told = ", ".join(f"{count} times {status}" for status, count in sorted(answers.items()))
    table = Table(
        f"p99 of {CALLERS} real callers' calls",
        ("forged tokens a second", "p99 in ms (least-most)", "ratio"),
        rows,
        f"Each caller calls {PACE:g} times a second. Each forged token is another one, over {FORGERS} connections "
        f"({told}). Aim: at most 1.20.",
    )
    return Result("forged", [table], {"calm": found[False], "flood": found[True], "answers": answers})


async def _flood(real: Target, requests: Sequence[str], until: float, answers: Counter[str]) -> None:
    client = await Client.opened(real, MODERN)
    due = time.perf_counter()
    for token in requests:
        due += FORGERS / FLOOD
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if time.perf_counter() > until:
            break
        client.target = replace(real, token=token)
        try:
            await client.exchange(client.tool_call(MODERN, real.arguments))
            answers["200"] += 1
        except CallFailedError as error:
            answers[str(error).split()[2]] += 1
        except (OSError, asyncio.IncompleteReadError):
            client.close()
            client = await Client.opened(real, MODERN)
            answers["hung up"] += 1
    client.close()
