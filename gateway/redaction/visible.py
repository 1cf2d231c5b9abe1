"""Boundary between text from anywhere and text whose every character is seen: terminals' and Unicode's hidden ones."""

import json
import re
from typing import Final

_PLAIN: Final = bytes([*range(0x20, 0x7F), 0x09, 0x0A])
_SEEN: Final = r"[^\x00-\x7f\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff]"
_RARE: Final = re.compile("[\u0000-\u009f\u00ad]|[^\u0000-\u02ff]")
"""What the characters below are among."""
_HIDDEN: Final = re.compile(
    # Controls (C0 but for tab and line feed, DEL, C1), what sets a terminal's colours and moves its cursor among them
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"
    # soft hyphen, fillers, invisible operators, separators of lines, marks of direction and their overrides
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    # variation selectors but those below, byte order mark, half-width filler, interlinear marks
    r"\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    # unpaired surrogates, musical formatting, and tags, in which whole sentences can be hidden
    r"\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Joiners between letters or pictures, and the choice of a picture's style after one, are part of what is seen.
    rf"|(?<!{_SEEN})[\u200c\u200d]|[\u200c\u200d](?!{_SEEN})|(?<![#*0-9]|{_SEEN})[\ufe0e\ufe0f]"
)


def visible(text: str) -> str:
    r"""Write out what no reader would see, or what changes what they see, as JSON does: `\u202e`.

    So text that is JSON stays JSON, and means the same. Line feeds and tabs stay; other scripts and emoji do.
    """
    rare = text.encode("utf-8", "surrogatepass").translate(None, _PLAIN)
    if not rare or _RARE.search(rare.decode("utf-8", "surrogatepass")) is None:
        return text
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
