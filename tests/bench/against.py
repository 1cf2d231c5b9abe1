"""Boundary to other MCP endpoints that somebody puts beside the gateway: what `--against` says of each."""

import argparse
import json
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.load import Target

FORM = "NAME=URL,TOOL,ARGUMENTS,TOKEN"


def against(text: str) -> Target:
    """Read `NAME=URL,TOOL,ARGUMENTS,TOKEN`.

    ARGUMENTS are a JSON object, in which commas are its own; the token comes last, may be left out together with its
    comma, and is read from a file where it is `@FILE`.

    Raises:
        argparse.ArgumentTypeError: It does not have this form.
    """
    name, _, rest = text.partition("=")
    url, _, rest = rest.partition(",")
    tool, _, rest = rest.partition(",")
    parts = urlsplit(url)
    if not (name and tool and parts.hostname and parts.scheme in {"http", "https"}):
        raise argparse.ArgumentTypeError(f"expected {FORM}, the URL with http or https; found {text[:80]!r}")
    try:
        arguments, used = json.JSONDecoder().raw_decode(rest)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {FORM}; ARGUMENTS are not JSON: {error}") from None
    after = rest[used:]
    if not isinstance(arguments, dict) or (after and not after.startswith(",")):
        raise argparse.ArgumentTypeError(f"expected {FORM}; ARGUMENTS are one JSON object, then comes the token")
    token = after[1:].strip()
    if token.startswith("@"):
        try:
            token = Path(token[1:]).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"the token's file can't be read: {error}") from None
    return Target(name, url, token, tool, arguments)
