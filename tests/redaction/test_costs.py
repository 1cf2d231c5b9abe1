import time

import pytest

from gateway.redaction.text import redacted, spoken
from gateway.redaction.visible import visible

SIZE = 24 * 1024
HOSTILE = (
    "pw==",
    "=keyAP",
    "key=:",
    "sl_key:",
    "hvb.xoxe:$(api_key",
    "password==|\n@",
    "name=value=name:",
    "\tBEGIN PRIVATE KEY",
    "-----BEGIN RSA PRIVATE KEY-----\n",
    "MIIE\n",
    "PRIVATE KEY= LS0tLS1CRUdJTi  BEGIN ",
    "aws key ",
    "AWSaws key==",
    "eyJ",
    "eyJhbGci.",
    "://a:",
    "://:@",
    'auths"auth": ',
    "token: ",
    "--token ",
    "a" * 63 + ".",
    "A1b2" * 11 + " key ",
    "password " + " " * 200,
    "artifAP0" + "a" * 20,
    '"password":"\\',
    "'secret'='",
    "[redacted: ",
    "\u202e\u200d",
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_little_time(unit: str) -> None:
    """24 KB of what makes each rule work most, plainly and with other rules' words before it."""
    for start in ("", "AKIA azure key -----END PRIVATE KEY----- "):
        text = (start + unit * (SIZE // len(unit) + 1))[:SIZE]
        began = time.process_time()
        redacted(text)
        spoken(text)
        visible(text)
        assert time.process_time() - began < 1.0


def test_twice_the_text_takes_twice_the_time() -> None:
    """No rule looks at a text again and again; four times as much is allowed for, sixteen would be its square."""
    for unit in HOSTILE:
        short, long = unit * (SIZE // len(unit)), unit * (4 * SIZE // len(unit))
        assert _seconds(long) < 12 * max(_seconds(short), 0.002)


def _seconds(text: str) -> float:
    best = 1e9
    for _ in range(2):
        began = time.process_time()
        redacted(text)
        best = min(best, time.process_time() - began)
    return best
