"""Boundary to the detector whose rules say what a credential looks like by itself, whatever it is called.

The patterns are those of the package detect-secrets (maintained as bc-detect-secrets). Each is tried only on a text
that has what it can't do without, and takes time that grows with the text alone: those that would not are bounded here,
and say how. What the package has no rule for stands in `_more`.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from gateway.redaction.names import STEMS

Found = re.Match[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind of credential looks like.

    A text without any of the `anchors` has none. Masked is the pattern's `group`, or all where that is empty, if the
    `guard` says that it is one.
    """

    kind: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    group: int = 0
    guard: Callable[[Found], bool] | None = None


Anchor = tuple[str, int]
"""What stands in every text in which a rule finds something, and the rule's number. Each character is a byte of UTF-8:
to look for bytes in bytes, CPython first fails to take them for a number, which takes longer than the search."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them, and their anchors, by what is left of them without the commonest characters: nothing, or something.

    `contexts` are for values that are credentials only under certain names, by the value's length.
    """

    all: tuple[Rule, ...]
    common: tuple[Anchor, ...]
    rare: tuple[tuple[str, tuple[Anchor, ...]], ...]
    contexts: dict[int, tuple[tuple[str, re.Pattern[str]], ...]]

    def due(self, raw: bytes) -> tuple[tuple[Rule, ...], bool] | None:
        """Return the rules that may find something in a text, given in UTF-8, and whether a name may."""
        whole, left = raw.decode("latin-1"), raw.translate(None, _COMMON).decode("latin-1")
        numbers = [number for anchor, number in self.common if anchor in whole]
        for rest, anchors in self.rare:
            if rest in left:
                numbers += [number for anchor, number in anchors if anchor in whole]
        if not numbers:
            return None
        return tuple(self.all[number] for number in sorted({*numbers}) if number != _NAMES), _NAMES in numbers


_COMMON: Final = b"abcdefhiklmnoprstu0123456789 \t\r\n\"'`,;{}()[]<>\\"
"""What texts are made of for the most part: what is left of one is searched in a fraction of the time."""
_CHANCE: Final = ("-", "w", "y")
"""What is left of some anchors, and of nearly every text."""
_NAMES: Final = -1
"""Stands among the rules' numbers for the stems of names."""
ENCODED: Final = "encoded"
"""The kind of what is a credential once it is decoded."""


def decoded(text: str) -> str:
    """Return the text that Base64 stands for, whole or cut; nothing where it stands for none."""
    joined = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(joined + "=" * (-len(joined) % 4)).decode("utf-8", "ignore")
    except (binascii.Error, ValueError):
        return decoded(joined[:-1]) if len(joined) % 4 == 1 else ""


def _is_login(found: Found) -> bool:
    """Whether Base64 stands for a name and a password (RFC 7617)."""
    said = decoded(found[1])
    return ":" in said and said.isprintable()


def _has_digit(found: Found) -> bool:
    return any(character.isdigit() for character in found[1])


def _has_dot(found: Found) -> bool:
    return "." in found[0]


def _has_body(found: Found) -> bool:
    return re.search(r"[A-Za-z0-9+/]{16}", found[0].partition(" KEY")[2]) is not None


def _bounded(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Bound the spaces around an assignment, which the detector leaves unbounded three times in a row."""
    return re.compile(pattern.pattern.replace("(?: *)", "(?: {0,8})").replace("| +|", "| {1,8}|"), pattern.flags)


def _detected() -> Iterator[Rule]:
    """Give the detector's rules for what is a credential by itself."""
    # The package brings an HTTP client with it, which takes a quarter of a second to import.
    from detect_secrets.plugins.aws import AWSKeyDetector  # noqa: PLC0415
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector  # noqa: PLC0415
    from detect_secrets.plugins.basic_auth import BasicAuthDetector  # noqa: PLC0415
    from detect_secrets.plugins.github_token import GitHubTokenDetector  # noqa: PLC0415
    from detect_secrets.plugins.npm import NpmDetector  # noqa: PLC0415
    from detect_secrets.plugins.sendgrid import SendGridDetector  # noqa: PLC0415
    from detect_secrets.plugins.slack import SlackDetector  # noqa: PLC0415
    from detect_secrets.plugins.softlayer import SoftlayerDetector  # noqa: PLC0415
    from detect_secrets.plugins.stripe import StripeDetector  # noqa: PLC0415
    from detect_secrets.plugins.twilio import TwilioKeyDetector  # noqa: PLC0415

    def near_azure(found: Found) -> bool:
        around = found.string[max(found.start() - 200, 0) : found.end() + 200]
        line = found.string[found.string.rfind("\n", 0, found.start()) + 1 : found.start()][-100:]
        if AzureStorageKeyDetector.integrity_regex.search(line):
            return False
        return "azure" in around.lower() or AzureStorageKeyDetector.account_key_check.search(around) is not None

    def near_aws(found: Found) -> bool:
        return secrets.search(found.string, max(found.start() - 50, 0), found.end()) is not None

    def near_artifactory(found: Found) -> bool:
        before = found.string[max(found.start() - 203, 0) : found.start()].lower()
        return any(word in before for word in ("artif", "jfrog", "buildkit"))

    ids, secrets = AWSKeyDetector.denylist
    yield Rule("aws-key", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T"), ids)
    # The detector's own pattern, asked about words of the right length: by itself it is slow on `aws aws aws`.
    words = re.compile(r"(?<![0-9a-zA-Z/+])[0-9a-zA-Z/+]{40}(?![0-9a-zA-Z/+])")
    yield Rule("aws-key", ("aws", "AWS", "Aws"), words, guard=near_aws)
    # The detector's own pattern, but each word is looked at once, and its context after that.
    azure = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86,88}+==")
    yield Rule("azure-key", ("==",), azure, guard=near_azure)
    # As the detector's, but for what may stand around them, and what must stand somewhere before the second.
    yield Rule("artifactory-token", ("AKC",), re.compile(r"\bAKC[a-zA-Z0-9]{10,200}+"))
    yield Rule("artifactory-token", ("AP",), re.compile(r"\bAP[\dA-F][a-zA-Z0-9]{8,200}+"), guard=near_artifactory)
    yield Rule("github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), GitHubTokenDetector.denylist[0])
    yield Rule("npm-token", ("npm_", "_authToken", "NPM"), NpmDetector.denylist[0], 1)
    yield Rule("sendgrid-key", ("SG.",), SendGridDetector.denylist[0])
    yield Rule("slack-token", ("xox", "XOX"), SlackDetector.denylist[0])
    yield Rule("slack-webhook", ("hooks.slack.com",), SlackDetector.denylist[1])
    yield Rule("softlayer-key", ("api.softlayer.com",), SoftlayerDetector.denylist[1], 1)
    # As the detector's, but for a backslash, which in JSON ends the word.
    yield Rule("square-key", ("sq0csp-",), re.compile(r"sq0csp-[0-9A-Za-z_-]{43}"))
    yield Rule("stripe-key", ("k_live_",), StripeDetector.denylist[0])
    yield from (Rule("twilio-key", (pattern.pattern[:2],), pattern) for pattern in TwilioKeyDetector.denylist)
    # The detector wants a user, and a password without signs; Redis has no user, and URLs are written by hand.
    anything = r"://[^\s/?#@:\"'<>\\]{0,128}+:([^\s/\"'<>\\]{1,256})@"
    yield Rule("url-password", ("://",), re.compile(anything), 1)
    yield Rule("url-password", ("://",), BasicAuthDetector.denylist[0], 1)


_END: Final = r"-END (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-{0,5}"
_GAP: Final = r"(?:\s|\\[nrt])*+"


def _blocks() -> Iterator[Rule]:
    """Give the rules for keys of several lines: the detector finds where one begins, this where it ends."""
    begin = r"-{0,5}BEGIN (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-{0,5}"
    whole = rf"(?:(?!BEGIN )[^\"'<>]){{1,16384}}?{_END}"
    cut = rf"{_GAP}(?:[\w+/=]{{8,}}+{_GAP})*+"
    yield Rule("private-key", ("PRIVATE KEY",), re.compile(f"{begin}(?:{whole}|{cut})"), guard=_has_body)
    # The end of one whose beginning is not in the text, as in the last lines of a log.
    lines = rf"(?<![\w+/=]\n)(?<![\w+/=]\r\n)^(?:[\w+/=]{{4,76}}\r?\n)++-{{0,4}}{_END}"
    yield Rule("private-key", ("PRIVATE KEY",), re.compile(lines, re.MULTILINE))
    lines = rf"(?<=Private-Lines: )[0-9]{{1,3}}{_GAP}(?:[A-Za-z0-9+/=]{{8,64}}{_GAP})++"
    yield Rule("private-key", ("Private-Lines: ",), re.compile(lines))
    # The detector's pattern, but a word without a dot is gone past at once.
    jwt = re.compile(r"eyJ[A-Za-z0-9_=-]++(?:\.[A-Za-z0-9_=-]+\.?[A-Za-z0-9_.+/=-]*)?")
    yield Rule("jwt", ("eyJ",), jwt, guard=_has_dot)
    words = r"(?:LS0tLS1CRUdJTi|eyJ|ewog)[A-Za-z0-9+/_=-]{20,}+(?:\r?\n[ \t]*+[A-Za-z0-9+/=]{4,76}+)*+"
    yield Rule(ENCODED, ("LS0tLS1CRUdJTi", "eyJ", "ewog"), re.compile(words))


def _more() -> Iterator[Rule]:
    """Give what the package has no rule for, and agents in a cluster are likely to meet."""

    def rule(kind: str, anchors: Sequence[str], pattern: str) -> Rule:
        return Rule(kind, tuple(anchors), re.compile(pattern))

    yield rule("github-token", ["github_pat_"], r"github_pat_[A-Za-z0-9_]{22,}")
    yield rule("gitlab-token", ["glpat-"], r"glpat-[\w.-]{20,}")
    yield rule("pypi-token", ["pypi-AgE"], r"pypi-AgE[\w-]{16,}")
    yield rule("google-key", ["AIza"], r"AIza[\w-]{35}")
    yield rule("google-key", ["GOCSPX-"], r"GOCSPX-[\w-]{28}")
    yield rule("google-token", ["ya29."], r"ya29\.[\w-]{20,}")
    yield rule("ai-key", ["sk-"], r"(?<![\w-])sk-(?:(?:ant|proj|svcacct|admin|or)-[\w-]{20,}|[A-Za-z0-9]{32,})")
    yield rule("huggingface-token", ["hf_"], r"(?<!\w)hf_[A-Za-z0-9]{30,}")
    yield rule("slack-token", ["xapp-"], r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}")
    yield rule("slack-token", ["xoxe"], r"xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9]{32,}")
    yield rule("vault-token", ["hvs.", "hvb."], r"(?<!\w)hv[sb]\.[\w-]{24,}")
    bearer = re.compile(r"\bbearer\s{1,4}([\w.~+/=-]{16,}+)", re.IGNORECASE)
    yield Rule("bearer-token", ("Bearer ", "bearer ", "BEARER "), bearer, 1, _has_digit)
    basic = re.compile(r"\bbasic\s{1,4}([A-Za-z0-9+/]{8,}+={0,2})", re.IGNORECASE)
    yield Rule("login", ("Basic ", "BASIC "), basic, 1, _is_login)
    docker = re.compile(r"auth\\?\"\s{0,4}:\s{0,4}\\?\"([A-Za-z0-9+/]{8,}+={0,2})")
    yield Rule("login", ("auths",), docker, 1, _is_login)


def _contexts() -> dict[int, tuple[tuple[str, re.Pattern[str]], ...]]:
    """Give the detector's rules for what is a credential only as the value of something, by the value's length.

    Two of them, Discord's and Mailchimp's, ask for no name; but they have no anchor either, and would be tried on
    everything. Their values are asked about where the name says `token`, `key`, `secret` or `pass`, as theirs do.
    """
    from detect_secrets.plugins.cloudant import CloudantDetector  # noqa: PLC0415  # as above
    from detect_secrets.plugins.discord import DiscordBotTokenDetector  # noqa: PLC0415
    from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector  # noqa: PLC0415
    from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector  # noqa: PLC0415
    from detect_secrets.plugins.mailchimp import MailchimpDetector  # noqa: PLC0415
    from detect_secrets.plugins.softlayer import SoftlayerDetector  # noqa: PLC0415

    hexadecimal, letters = map(_bounded, CloudantDetector.denylist[:2])
    discord, mailchimp = DiscordBotTokenDetector.denylist[0], MailchimpDetector.denylist[0]
    return {
        **dict.fromkeys((36, 37), (("mailchimp-key", mailchimp),)),
        **dict.fromkeys((58, 59, 60, 61), (("discord-token", discord),)),
        24: (("cloudant-key", letters),),
        44: (("ibm-key", _bounded(IbmCloudIamDetector.denylist[0])),),
        48: (("ibm-key", _bounded(IbmCosHmacDetector.denylist[0])),),
        64: (("cloudant-key", hexadecimal), ("softlayer-key", _bounded(SoftlayerDetector.denylist[0]))),
    }


@cache
def load() -> Rules:
    """Return the rules, read and compiled once."""
    rules = (*_blocks(), *_detected(), *_more())
    written = [(anchor, number) for number, rule in enumerate(rules) for anchor in rule.anchors]
    written += [(form, _NAMES) for stem in STEMS for form in (stem, stem.upper())]
    written += [(stem.capitalize(), _NAMES) for stem in STEMS[:-1]]
    left: dict[str, list[Anchor]] = {}
    for text, number in written:
        rest = text.encode().translate(None, _COMMON).decode("latin-1")
        left.setdefault("" if rest in _CHANCE else rest, []).append((text.encode().decode("latin-1"), number))
    common = tuple(left.pop("", ()))
    rare = tuple((rest, tuple(anchors)) for rest, anchors in left.items())
    return Rules(rules, common, rare, _contexts())
