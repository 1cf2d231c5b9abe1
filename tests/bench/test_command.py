"""What the benchmark's command takes and writes; what it measures is not for here."""

import argparse
import re
from pathlib import Path

import pytest

from tests.bench import flame
from tests.bench.against import against
from tests.bench.gate import Seen, problems
from tests.bench.report import PAGE, Result, Table, into_page, markdown
from tests.bench.run import PARTS

FINE = Seen(requests=1, connections=0, functions=400, of_the_floor=1.0)


def test_another_endpoint_has_arguments_with_commas(tmp_path: Path) -> None:
    """The JSON of the arguments ends where it ends, whatever stands in it; the token may stand in a file."""
    (tmp_path / "token").write_text("abc\n")
    target = against(f'peer=https://peer.example/mcp,get,{{"a": "b,c", "d": [1, 2]}},@{tmp_path / "token"}')
    assert (target.name, target.url, target.tool) == ("peer", "https://peer.example/mcp", "get")
    assert (target.arguments, target.token) == ({"a": "b,c", "d": [1, 2]}, "abc")
    assert "abc" not in repr(target)
    assert against("peer=http://127.0.0.1:1/mcp,get,{}").token == ""


@pytest.mark.parametrize(
    "text", ["peer", "peer=ftp://a/mcp,get,{},x", "peer=http://a/mcp,get", "a=http://a/mcp,t,[],x", "a=http://a,t,{}x"]
)
def test_what_names_no_endpoint_is_refused(text: str) -> None:
    """A mistake is told with the form that is expected."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=URL"):
        against(text)


def test_the_page_has_a_place_for_each_part() -> None:
    """What is measured can be written into docs/performance.md, and nothing around it changes."""
    page = PAGE.read_text(encoding="utf-8")
    for part in (*PARTS, "flame"):
        written = into_page(page, part, "| new |")
        assert "| new |" in written
        assert re.sub(r"(?s)(<!-- bench:\w+ -->).*?(<!-- /)", r"\1\2", written) == re.sub(
            r"(?s)(<!-- bench:\w+ -->).*?(<!-- /)", r"\1\2", page
        )
    with pytest.raises(ValueError, match="no place for other"):
        into_page(page, "other", "")


def test_a_table_reads_as_markdown() -> None:
    """Title, rows and the word under them."""
    text = markdown(Result("a", [Table("Title", ("x", "y"), [("1", "2")], "Said.")], {}))
    assert text == "**Title**\n\n| x | y |\n| --- | ---: |\n| 1 | 2 |\n\nSaid.\n"


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Seen(2, 0, 400, 1.0), "2 API requests instead of 1"),
        (Seen(1, 0.01, 400, 1.0), "opens 0.01 connections"),
        (Seen(1, 0, 421, 1.0), "421 Python functions; the bound is 420"),
        (Seen(1, 0, 400, 1.04), "1.040 of the floor's instructions; the bound is 1.03"),
        (Seen(1, 0, 400, 1.51, instructions=False), "1.510 of the floor's CPU time; the bound is 1.5"),
    ],
)
def test_the_gate_names_what_does_not_hold(seen: Seen, said: str) -> None:
    """Each bound fails by itself; what is within all of them passes, also where no functions were recorded."""
    assert [said in problem for problem in problems({"2026-07-28": seen}, {"2026-07-28": 400})] == [True]
    assert not list(problems({"2026-07-28": FINE}, {"2026-07-28": 400}))
    assert not list(problems({"2026-07-28": FINE}, {}))


def test_a_flame_graph_shows_what_took_long() -> None:
    """A function's width is its share of all samples; what hardly ran is left out."""
    root = flame.tree("main:main;a.b:f;a.b:g 60\nmain:main;a.b:f 30\nmain:main;c:<h> 909\nmain:main;d:i 1\n")
    drawn = flame.svg(root)
    assert "<title>c:&lt;h&gt;: 90.9%</title>" in drawn
    assert "d:i" not in drawn
    assert flame.shares(root) == {"c": 0.909, "a": 0.09, "d": 0.001, "asyncio": 0.0}
