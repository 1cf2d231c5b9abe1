"""Boundary between what a value is called and whether it is a credential: `DB_PASSWORD` is, `passwordFile` is not."""

import re
from functools import cache, lru_cache
from typing import Final

STEMS: Final = ("pass", "token", "secret", "key", "pw", "contrase")
"""One of these is in every name that the detector calls secret."""

_MORE: Final = ("passphrase", "(?:access|encryption|master|session|signing|storage)_?key")
"""Names that the detector's list lacks; each is one that charts and SDKs give to what signs or opens."""
_REFERRING: Final = re.compile(
    r"(?:names?|namespace|refs?|reference|paths?|files?|dir|directory|mount|types?|kind|ur[li]|endpoint|host|port|"
    r"provider|policy|ttl|expir(?:y|es|ation)|expires_?in|seconds|minutes|hours|days|lifetime|timeout|duration|"
    r"interval|period|length|size|count|limit|budget|enabled|disabled|required|optional|version|algorithm|format|"
    r"encoding|mode|class|store|issuer|audiences?|scopes?|(?:key|token)_?id|label|selector|prefix|suffix|field|header|"
    r"param|parameter|source|driver|engine|status|state|usage|used|reviews?|requests?|rotation|renew|checksum|digest|"
    r"fingerprint|manager|controller|operator|plugin|pull_?secrets?)$"
    r"|tokeniz|^(?:old)?pwd$"
)
"""Names that say where a credential is, what kind it is or how long it lives, not what it is: Kubernetes and its
extensions name things so. It goes on from the detector's own short list of such names."""
_DOCUMENT: Final = re.compile(
    r"\.(?:cfg|cnf|conf|config|crt|env|gohtml|hcl|html|ini|js|json|lua|md|php|properties|ps1|py|rb|sh|sql|tmpl|toml|"
    r"tpl|txt|xml|ya?ml)$",
    re.IGNORECASE,
).search
_WORDS: Final = frozenset(
    word
    for words in (
        "true false yes no on off null none nil undefined unset empty default optional required",
        "missing expired invalid denied rejected revoked unauthorized forbidden unknown failed failure error malformed",
        "valid ok changed unchanged created updated deleted rotated renewed refreshed present absent found",
        "not is was has must cannot",
    )
    for word in words.split()
)
"""Values that say something about a credential instead of being one."""
_REFERENCE: Final = re.compile(
    r"\$\([\w.]+\)|\$\{[^}]*\}|\$\w+|\{\{.*\}\}|%[({].*[)}]s?|<[^<>]*>|[*•.x-]+|"
    r"/(?:app|certs?|config|data|dev|etc|home|keys|mnt|opt|proc|root|run|secrets?|srv|tmp|usr|var|workspace)(?:/[\w.-]*)*",
    re.IGNORECASE,
).fullmatch
"""A variable, a template's placeholder, a mask of somebody else's, or a path below a well-known folder."""
_NUMBER: Final = re.compile(r"[0-9]+(?:[._][0-9]+)*(?:[a-z]{1,3})?", re.IGNORECASE).fullmatch
_DIGITS: Final = 12
"""Characters of the longest number that counts something."""
_OPENS: Final = re.compile("pass|pwd|secret").search


@cache
def _keywords() -> tuple[re.Pattern[str], frozenset[str]]:
    """Read the detector's names of credentials, and those it knows to be none."""
    # The detector's package brings an HTTP client with it, a quarter of a second to import.
    from detect_secrets.plugins.keyword import ALLOWLIST, DENYLIST  # noqa: PLC0415

    return re.compile("|".join((*DENYLIST, *_MORE))), frozenset(word.lower() for word in ALLOWLIST)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a value of this name is a credential: a key of an object, a variable, a flag, a header."""
    if len(name) > 256:  # noqa: PLR2004  # nobody calls anything that, and the detector's rules are not linear
        return False
    # What stands before a slash is who gave an annotation its name.
    normal = re.sub(r"[-.\s]", "_", name.rpartition("/")[2].lower())
    if not any(stem in normal for stem in STEMS):
        return False
    wanted, harmless = _keywords()
    if wanted.search(normal) is None or _REFERRING.search(normal):
        return False
    return not any(word in normal for word in harmless)


def is_document(name: str) -> bool:
    """Whether a name is that of a file with a format, in which a credential is one line among others."""
    return _DOCUMENT(name) is not None


def is_harmless(name: str, value: str) -> bool:
    """Whether a value can't be the credential that its name promises."""
    if not value or value.lower() in _WORDS or _REFERENCE(value):
        return True
    # `maxTokens: 4096` and `tokenTTL: 24h` count; a password may well be a number.
    return len(value) <= _DIGITS and _NUMBER(value) is not None and not _OPENS(name.lower())
