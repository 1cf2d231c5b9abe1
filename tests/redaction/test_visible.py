import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.redaction.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("a\rb\x00c\x7f\x9b1m", "a\\rb\\u0000c\\u007f\\u009b1m"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("de\u200bmo\u2060\ufeff", "de\\u200bmo\\u2060\\ufeff"),
        ("a\U000e0069\U000e0067b", "a\\udb40\\udc69\\udb40\\udc67b"),
        ("x\ufe00\ufe0f", "x\\ufe00\\ufe0f"),
        ("a\u200db \u200c", "a\\u200db \\u200c"),
        ("one\u2028two\x85three", "one\\u2028two\\u0085three"),
        ("\u2066x\u2069\u00ad\u3164", "\\u2066x\\u2069\\u00ad\\u3164"),
    ],
)
def test_what_no_reader_would_see_is_written_out(text: str, shown: str) -> None:
    """Escape sequences, controls, marks of direction, zero widths, tags and stray variation selectors."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain ASCII,\twith a tab\nand lines",
        "cluster east · łódź, Ünïcode, 你好世界, こんにちは, 안녕하세요",
        "مرحبا بالعالم, שלום עולם",
        "नमस्ते दुनिया, ක්\u200dෂ",
        "🎉 ❤\ufe0f 1\ufe0f\u20e3 👩\u200d💻 👨\u200d👩\u200d👧 ☎\ufe0e",
        "“quoted” … — ™ €",
    ],
)
def test_other_scripts_and_emoji_stay_readable(text: str) -> None:
    """What a person sees, an agent reads as it is."""
    assert visible(text) == text


@given(st.text())
def test_json_means_the_same_as_before(text: str) -> None:
    """An escape is JSON's own, so a program reads what was there."""
    written = visible(orjson.dumps({"a": text}).decode())
    assert json.loads(written) == {"a": text}
    assert visible(written) == written
