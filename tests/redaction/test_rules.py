import pkgutil
from importlib import import_module
from typing import Any

import pytest
from detect_secrets import plugins
from detect_secrets.plugins.base import BasePlugin
from detect_secrets.plugins.keyword import DENYLIST

from gateway.redaction.names import STEMS
from gateway.redaction.text import redacted

ENTROPY = {"Base64HighEntropyString", "HexHighEntropyString"}
"""Left out: hashes, digests and names of pods are as random as keys are."""
NAMES = "KeywordDetector"
"""Its list of names is in use, see `gateway.redaction.names`, but not its patterns, which are for source code."""

HEX = "5f2c1e8d9b7a60413c2d5e6f708192a3b4c5d6e7f80912a3"
WORD = "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji1Hg0FeDcBa98765Xy1"
EXAMPLES = {
    "ArtifactoryDetector": ["token AKCp8kQ2wE4rT6yU8iO0p ", "artifactory: AP5kQ2wE4rT6yU8iO0pA1s "],
    "AWSKeyDetector": ["id AKIA2OGYBAH63R4VEXQT", f"aws key {WORD[:40]}"],
    "AzureStorageKeyDetector": [f"azure: {(WORD * 2)[:86]}=="],
    "BasicAuthDetector": ["https://shop:Tr0ub4dor3x@example.net"],
    "CloudantDetector": [
        f"cloudant_pw = {(HEX * 2)[:64]}",
        "cl_key: 'abcdefghijklmnopqrstuvwx'",
        f"https://shop:{(HEX * 2)[:64]}@shop.cloudant.com",
        "https://shop:abcdefghijklmnopqrstuvwx@shop.cloudant.com",
    ],
    "DiscordBotTokenDetector": ["bot token: MzA1NzE2NDM4NzY1NDMyMTA5.YzXwVu.0123456789abcdefghijklmnopq"],
    "GitHubTokenDetector": [f"remote ghs_{WORD[:36]}"],
    "IbmCloudIamDetector": [f'ibm_key = "{WORD}"'],
    "IbmCosHmacDetector": [f"cos_secret_access_key={HEX}"],
    "JwtTokenDetector": ["got eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.x9"],
    "MailchimpDetector": [f"mail key: {HEX[:32]}-us12"],
    "NpmDetector": [f"npm_{WORD[:36]}", "//registry/:_authToken=5f2c1e8d-9b7a-6041-3c2d-5e6f708192a3"],
    "PrivateKeyDetector": ["-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1\n-----END"],
    "SendGridDetector": [f"SG.{WORD[:22]}.{WORD[:43]}"],
    "SlackDetector": ["xoxp-2635942065-abc9def", "https://hooks.slack.com/services/T0A1B2C3D/B4E5F6G7H/xT9yU2iO5p"],
    "SoftlayerDetector": [f"sl_key={(HEX * 2)[:64]}", f"https://api.softlayer.com/soap/v3/{(HEX * 2)[:64]}"],
    "SquareOAuthDetector": [f"sq0csp-{WORD[:43]}"],
    "StripeDetector": ["rk_" + f"live_{WORD[:24]}"],
    "TwilioKeyDetector": [f"AC{HEX[:32]}", f"SK{HEX[:32]}"],
}
"""What each of the detector's patterns finds; of no pattern nothing."""


def _detectors() -> dict[str, type[Any]]:
    modules = (import_module(found.name) for found in pkgutil.iter_modules(plugins.__path__, f"{plugins.__name__}."))
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BasePlugin) and value.__module__ == module.__name__
    }


def test_no_detector_is_left_out_unsaid() -> None:
    """A newer package with another detector, or another pattern of one, is looked at here before it is shipped."""
    concrete = {name: each for name, each in _detectors().items() if isinstance(each.secret_type, str)}
    assert set(concrete) - ENTROPY - {NAMES} == set(EXAMPLES)
    for name, texts in EXAMPLES.items():
        for pattern in concrete[name].denylist:
            assert any(pattern.search(text) for text in texts) or "PuTTY" in pattern.pattern


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EXAMPLES.items() for text in texts])
def test_what_the_detector_finds_is_masked(name: str, text: str) -> None:
    """Whatever it says is a secret can't be read any more."""
    found = [secret for secret in _detectors()[name]().analyze_string(text) if len(secret) > 4]
    assert found or name in {"GitHubTokenDetector", "NpmDetector"}  # whose patterns give a part of it
    assert "[redacted: " in redacted(text)
    assert not [secret for secret in found if secret in redacted(text)]


def test_every_name_of_the_detector_has_a_stem() -> None:
    """Else a text with only such a name would pass unseen."""
    for word in DENYLIST:
        assert any(stem in word for stem in STEMS)
