"""Boundary between text and the same text without credentials: what looks like one, and what is called one."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway.redaction import masks
from gateway.redaction.masks import Mask
from gateway.redaction.names import STEMS, is_harmless, is_secret
from gateway.redaction.rules import ENCODED, Rule, decoded, load

NAMED: Final = "secret"
"""The kind of what is a credential by its name alone."""
_PIECE: Final = 64 * 1024
"""Characters of a text that are looked through in one go."""
_LONGEST: Final = 64
"""Characters of the longest name before and after its stem."""
_NAME: Final = "abcdefghijklmnopqrstuvwxyz0123456789_.-ñ"
_VALUE: Final = re.compile(
    r"\"(?P<double>(?:[^\"\\\n]|\\.)++)|'(?P<single>[^'\n]++)|`(?P<tick>[^`\n]++)"
    r"|\\[\"'](?P<escaped>(?:[^\"'\\\n]|\\[^\"'\n])++)"
    r"|(?P<block>[|>][+-]?[0-9]?[ \t]*+\n)"
    r"|(?P<bare>(?!\$[({])[^\s\"'`&<>|,;{}()\[\]\\](?:[^\s\"'`&<>\\,;]|[,;](?=\S)(?![\w.-]{1,40}+[=:]))*+)"
).match
"""Matched where a name says that a value may be one, and nowhere else: so no text is gone through again and again."""
_ASSIGNED: Final = {
    stem: re.compile(
        rf"{stem}(?P<tail>[\w.-]{{0,{_LONGEST}}}+)(?:\\?[\"'`]|\]){{0,3}}+"
        r"[ \t]{0,8}+(?P<sign>:=|=>|={1,3}|:(?!//))[ \t]{0,8}+"
    ).search
    for stem in STEMS
}
"""Each begins with plain letters, and so do those below: these are found in a fraction of an expression's time."""
_PAIRS: Final = tuple(
    re.compile(
        rf"{word}(?<!\w{word})\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?[\"']?(?P<name>[\w./-]{{1,128}}+)\\?[\"']?"
        r"(?:\s|,|\\n){0,40}+\\?[\"']?value\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}"
    ).search
    for word in ("name", "key")
)
_FLAG: Final = re.compile(r"-(?<![\w-]-)-?(?P<name>[\w.-]{1,128}+)\\?[\"']?[ \t]{1,4}+(?![-:=])").search
_QUOTED: Final = ("double", "single", "tick", "escaped")
_LEAD: Final = re.compile(r"\s*(?:[#;-]\s*)?(?:export\s|set\s|env\s)?\s*[\"']?").fullmatch
"""What may stand before a name for the line to be one of a configuration."""
_LEADING: Final = 80
"""Characters of the longest such beginning."""
_WORD: Final = re.compile(r"\\?[\"']?(?P<word>[\w.-]{24,64}+)").match
_FIELDS: Final = re.compile(r"[\s&][\w.-]+=").search
_ON: Final = re.compile(r"(?:\\[^\s\"'`]|[^\s\"'`&<>\\])++").match
_PROSE: Final = re.compile(r"[a-z]+[,:]?").fullmatch
_GOES_ON: Final = re.compile(r" [a-z(\"']").match


@dataclass(frozen=True, slots=True)
class Due:
    """What has to be looked for in a text: these rules, and credentials by their names."""

    rules: tuple[Rule, ...]
    names: bool


class Clean(str):
    """A text that was looked at as a whole: nothing in it would have to be masked, and every character is seen."""

    __slots__ = ()


def due(raw: bytes) -> Due | None:
    """Return what a text in UTF-8 has to be looked through for; None, at little cost, for most texts."""
    found = load().due(raw)
    return None if found is None else Due(*found)


def prepare() -> None:
    """Import and compile the rules now, in whatever thread, so that no text waits for them."""
    load()
    is_secret("password")


def redacted(text: str, *, mask: Mask = masks.plain) -> str:
    """Return a text with every credential in it masked; JSON stays JSON."""
    found = due(text.encode("utf-8", "surrogatepass"))
    return text if found is None else looked_through(text, found, escaped=True, mask=mask)


def spoken(text: str) -> str:
    """Return what a program said, as it said it, with every credential in it masked."""
    return "".join(
        piece if (found := due(piece.encode("utf-8", "surrogatepass"))) is None else looked_through(piece, found)
        for piece in _pieces(text)
    )


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text after whole lines: most pieces have nothing, and none keeps others waiting for long."""
    # A private key has many lines.
    length = len(text) if "PRIVATE KEY" in text else _PIECE
    at = 0
    while at < len(text):
        end = text.find("\n", at + length) + 1 or len(text)
        yield text[at:end]
        at = end


def looked_through(
    text: str, found: Due, *, config: bool = False, escaped: bool = False, mask: Mask = masks.plain
) -> str:
    """Return a text with the credentials masked that `found` says it may have.

    In a `config` file a credential may be of several words; elsewhere those are a sentence. In an `escaped` text a
    backslash may belong to JSON around it, and ends a credential.
    """
    for rule in found.rules:
        for anchor in rule.anchors:
            if anchor in text:
                text = _by_rule(text, rule, mask)
                break
    if found.names and _may_name(text):
        text = _by_name(text, _Manner(config, escaped), mask)
    return text


def _may_name(text: str) -> bool:
    """Whether a text has a name at all, and a sign or a flag for it: most strings of an object have not."""
    if "=" not in text and ":" not in text and (" " not in text or "-" not in text):
        return False
    low = text.lower()
    return any(stem in low for stem in STEMS)


@dataclass(frozen=True, slots=True)
class _Manner:
    """What kind of text it is, see `looked_through`."""

    config: bool
    escaped: bool


def _by_rule(text: str, rule: Rule, mask: Mask) -> str:
    kept: list[str] = []
    at = 0
    for found in rule.pattern.finditer(text):
        start, end = found.span(rule.group) if found[rule.group] else found.span()
        if start < at or not _holds(rule, found, text[start:end]):
            continue
        # Some of the detector's patterns take in what stands around a credential.
        word = text[start:end].lstrip(' \t\r\n"=:')
        start = end - len(word)
        word = word.rstrip(' \t\r\n"')
        kept += text[at:start], mask(rule.kind, word)
        at = start + len(word)
    return "".join((*kept, text[at:])) if kept else text


def _holds(rule: Rule, found: re.Match[str], word: str) -> bool:
    if rule.kind == "url-password":
        return masks.BEGINNING not in f"{word} " and not is_harmless("password", word)
    if rule.kind == ENCODED:
        said = decoded(word)
        return redacted(said) != said
    return rule.guard is None or rule.guard(found)


def _by_name(text: str, manner: _Manner, mask: Mask) -> str:
    """Mask values that an assignment, a flag, or a pair of `name` and `value` calls credentials."""
    # Lower-cased without a change of length, which `str.lower` does not promise.
    low = text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    spans = [span for stem in STEMS if stem in low for span in _assignments(text, low, _ASSIGNED[stem], manner)]
    if "value" in low:
        for search in _PAIRS:
            spans += _others(text, low, search, replace(manner, config=True))
    if "-" in low:
        spans += _others(text, low, _FLAG, replace(manner, config=False))
    if not spans:
        return text
    kept: list[str] = []
    at = 0
    for start, end, kind in sorted(spans):
        if start >= at:
            kept += text[at:start], mask(kind, text[start:end])
            at = end
    return "".join((*kept, text[at:]))


Search = Callable[[str, int], "re.Match[str] | None"]
_Span = tuple[int, int, str]


def _assignments(text: str, low: str, search: Search, manner: _Manner) -> Iterator[_Span]:
    contexts = load().contexts
    at = 0
    while found := search(low, at):
        at = found.end("tail")
        before = low[max(found.start() - _LONGEST, 0) : found.start()]
        start = found.start() - len(before) + len(before.rstrip(_NAME))
        name = low[start:at]
        if text.endswith(masks.BEGINNING, 0, start):
            continue
        if is_secret(name):
            if (span := _value(text, low, found, name, start, manner)) is not None:
                yield *span, NAMED
                at = span[1]
        elif (word := _WORD(text, found.end())) is not None:
            for kind, pattern in contexts.get(len(word["word"]), ()):
                if pattern.search(text, max(start - 1, 0), word.end() + 1):
                    yield *word.span("word"), kind
                    at = word.end()
                    break


def _others(text: str, low: str, search: Search, manner: _Manner) -> Iterator[_Span]:
    at = 0
    while found := search(low, at):
        at = found.end("name")
        name = found["name"]
        if is_secret(name) and (span := _value(text, low, found, name, found.start(), manner)) is not None:
            yield *span, NAMED
            at = span[1]


def _value(  # noqa: PLR0917  # the parts of one match
    text: str, low: str, named: re.Match[str], name: str, start: int, manner: _Manner
) -> tuple[int, int] | None:
    """Return where the value begins and ends that is to be masked, None where it is no credential."""
    found = _VALUE(low, named.end())
    if found is None:
        return None
    group = str(found.lastgroup)
    begin, end = found.span(group)
    if group == "bare" and manner.escaped and named[0].rstrip(" \t:=")[-1:] == '"':
        # A number, a boolean or null of a JSON object.
        return None
    if group == "block":
        return _block(text, start, end)
    value = text[begin:end]
    if group in _QUOTED:
        return None if is_harmless(name, value) or value.startswith(masks.BEGINNING) else (begin, end)
    if not manner.escaped and (more := _ON(text, end)) is not None:
        end = more.end()
        value = text[begin:end]
    assigned = "=" in (named.groupdict().get("sign") or "")
    if (manner.config or assigned) and (rest := _rest(text, start, begin)) and not _FIELDS(rest):
        value = rest
    elif not assigned and _PROSE(value) and _GOES_ON(text, end):
        return None
    else:
        value = value.rstrip(",;:.)]}")
    return None if is_harmless(name, value) else (begin, begin + len(value))


def _rest(text: str, start: int, begin: int) -> str:
    """Return the rest of a line that is one of a configuration: that nothing else begins."""
    line = max(text.rfind("\n", 0, start) + 1, start - _LEADING)
    if (line and text[line - 1] != "\n") or not _LEAD(text, line, start):
        return ""
    end = text.find("\n", begin)
    return text[begin : end if end >= 0 else len(text)].rstrip()


def _block(text: str, start: int, at: int) -> tuple[int, int] | None:
    """Return where the lines are of a YAML block that is the value of a name: those that are indented more."""
    lead = text[text.rfind("\n", 0, start) + 1 : start]
    depth = len(lead) - len(lead.lstrip(" "))
    end = at
    while end < len(text):
        following = text.find("\n", end) + 1 or len(text)
        line = text[end:following]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= depth:
            break
        end = following
    body = text[at:end]
    if not body.strip() or body.lstrip().startswith(masks.BEGINNING):
        return None
    return at + len(body) - len(body.lstrip()), at + len(body.rstrip())
