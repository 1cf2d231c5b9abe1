"""Every fault of the embedded clusters strikes twelve calls in flight, six of them writes; what becomes of each."""

from collections import Counter
from functools import partial
from typing import Any

import orjson
import pytest

from gateway.clusters.options import LimitOptions
from gateway.demo.faults import (
    BrokenService,
    ExpireContinue,
    ExpiredCertificate,
    Fault,
    Hang,
    HugeList,
    Latency,
    Refuse,
    Reply,
    Reset,
    Slow,
    Truncate,
    Webhook,
    not_json,
    redirect,
    server_error,
    too_many_requests,
)
from gateway.errors import GatewayError
from gateway.policy.options import PolicyOptions
from gateway.tools.explain import explain
from gateway.tools.manifests import parse_manifest
from gateway.tools.naming import resource_type
from gateway.tools.targets import Target, targets_of
from tests.faults.crew import Said, check_words, check_writes, in_flight, tally
from tests.workbench import MakeWorkbench, Workbench

pytestmark = pytest.mark.slow

NAMES = [f"written-{number}" for number in range(6)]
SHORT = LimitOptions(connect_seconds=2, first_byte_seconds=2, call_seconds=4)
WRITES = PolicyOptions(writes=frozenset({"apply"}), confirmation="none")
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resource_list", {"resource": "pods", "namespace": "demo"}),
    ("resource_list", {"resource": "configmaps", "output": "json"}),
    ("resource_get", {"resource": "namespace", "name": "demo"}),
    ("resource_types", {}),
    ("diagnose", {"namespace": "demo"}),
    ("resource_get", {"resource": "cm", "name": "there"}),
)

FAULTS: dict[str, tuple[Fault, str, str]] = {
    "refused": (Refuse(), "1 answered, 11 failed", ""),
    "hangs at accept": (Hang("accept"), "", ""),
    "hangs before an answer": (Hang("tls"), "1 answered, 11 failed", "6 unclear"),
    "hangs after the headers": (Hang("headers"), "1 answered, 11 failed", "6 unclear"),
    "hangs within the body": (Hang("half"), "1 answered, 11 failed", "6 unclear"),
    "late": (Latency(0.1), "12 answered", "6 answered"),
    "drips": (Slow(20), "1 answered, 11 failed", "6 unclear"),
    "reset before the status": (Reset(-1), "1 answered, 11 failed", "6 unclear"),
    "reset within the body": (Reset(30), "1 answered, 11 failed", "6 unclear"),
    "cut off, and called whole": (Truncate(30), "7 answered, 5 failed", "6 answered"),
    "no JSON": (not_json(), "1 answered, 11 failed", "6 answered"),
    "empty": (Reply(200, b""), "1 answered, 11 failed", "6 answered"),
    "busy": (too_many_requests(5), "1 answered, 11 failed", "6 failed"),
    "broken": (server_error(), "1 answered, 11 failed", "6 unclear"),
    "unavailable": (server_error(503, "not ready"), "1 answered, 11 failed", "6 unclear"),
    "elsewhere": (redirect("https://192.0.2.1/"), "1 answered, 11 failed", "6 failed"),
    "unauthorised": (Reply(401, b"{}"), "1 answered, 11 failed", "6 failed"),
    "forbidden": (Reply(403, b"{}"), "1 answered, 11 failed", "6 failed"),
    "pages lapse": (ExpireContinue(), "12 answered", "6 answered"),
    "an aggregated API is dead": (BrokenService(), "12 answered", "6 answered"),
    "an expired certificate": (ExpiredCertificate(), "1 answered, 11 failed", ""),
    "lists without end": (HugeList(12 << 20), "9 answered, 3 failed", "6 answered"),
    "a webhook says no": (Webhook("guard.example.com", denies="not today"), "6 answered, 6 failed", "6 failed"),
}
"""What strikes, what becomes of the twelve calls, and of six writes that were confirmed and are on their way.

Empty where it hangs on how many connections were open: those go on, or are cut; for the others nothing is sent.
"""


@pytest.fixture
async def bench(workbench: MakeWorkbench) -> Workbench:
    """Give a warm workbench that may write without being asked, and soon gives up."""
    made = await workbench(WRITES, SHORT)
    await made.cluster.apply(manifest("there"))
    await made.call("resource_list", {"resource": "pods"})
    return made


def manifest(name: str) -> str:
    """Return a ConfigMap."""
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}}
    return orjson.dumps(document).decode()


async def said(bench: Workbench, tool: str, arguments: dict[str, Any]) -> Said:
    """Call a tool, and return what the agent hears."""
    try:
        return Said(await bench.call(tool, arguments), failed=False)
    except GatewayError as error:
        return Said(explain(error), failed=True)


@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_ends_every_call_in_an_answer_or_a_clear_error(bench: Workbench, name: str) -> None:
    """Nobody waits beyond the limits, no write is sent twice or told as failed that happened; and all works again."""
    fault, became, _ = FAULTS[name]
    calls = [("", partial(said, bench, tool, arguments)) for tool, arguments in READS]
    calls += [(each, partial(said, bench, "resource_apply", {"manifest": manifest(each)})) for each in NAMES]
    with bench.cluster.fault(fault, paths=["/api/v1/*", "/apis/*"]):
        ends = await in_flight(calls, 20)
    check_words(ends)
    check_writes(ends, await existing(bench), writes(bench))
    assert len(ends) == 12
    assert became in tally(ends)
    bench.clock.forward(61)
    assert not (await said(bench, *READS[0])).failed  # which finds out that the cluster is back
    again = await in_flight(calls, 20)
    assert tally(again) == "12 in flight: 12 answered", [each for each in again if each.became != "answered"]


@pytest.mark.parametrize("name", FAULTS)
async def test_a_write_on_its_way_is_sent_once_and_told_as_what_it_may_be(bench: Workbench, name: str) -> None:
    """Where nobody knows whether it was done, nobody is told that it was not."""
    fault, _, became = FAULTS[name]
    async with bench.session() as session:
        kind = await resource_type(session, "configmaps")
        targets, _ = await targets_of(session, parse_manifest("\n---\n".join(map(manifest, NAMES))), None)

        async def write(target: Target) -> Said:
            try:
                await session.request(target.request(force=False, dry_run=False), kind)
            except GatewayError as error:
                return Said(explain(error), failed=True)
            return Said("done", failed=False)

        with bench.cluster.fault(fault, paths=["/api/v1/*", "/apis/*"]):
            ends = await in_flight([(each.document.name, partial(write, each)) for each in targets], 20)
    check_words(ends)
    assert not [name for name, count in writes(bench).items() if count > 1]
    assert len(ends) == 6
    assert became in tally(ends)
    exist = await existing(bench)
    assert not [end for end in ends if end.became == "failed" and end.wrote in exist]


async def existing(bench: Workbench) -> set[str]:
    """Return which of the ConfigMaps there are."""
    return {each for each in NAMES if (await bench.cluster.request("GET", path(each)))[0] == 200}


def path(name: str) -> str:
    """Return where a ConfigMap is."""
    return f"/api/v1/namespaces/demo/configmaps/{name}"


def writes(bench: Workbench) -> Counter[str]:
    """Count what was sent to be written, by name; tries are not."""
    return Counter(
        seen.path.rpartition("/")[2]
        for seen in bench.cluster.requests
        if seen.method == "PATCH" and "dryRun" not in seen.query
    )
