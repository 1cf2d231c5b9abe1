from typing import Any

import orjson
import pytest

from gateway.errors import BadArgument
from gateway.tools.manifests import parse_manifest
from gateway.tools.shaping import fitted

LONG: dict[str, Any] = {
    "a long text": {"text": "word " * 4000},
    "a long list": {"args": [f"argument {number}" for number in range(4000)]},
    "many keys": {f"key-{number}": number for number in range(4000)},
    "much below": {"a": {f"key-{number}": {"b": {"c": [1] * 5}} for number in range(15)}},
}


@pytest.mark.parametrize("what", LONG)
def test_what_an_answer_cut_is_not_applied(what: str) -> None:
    """A manifest made of an answer that was cut, wherever and for whatever reason, is refused: it would delete."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": LONG[what]}
    read, cut = fitted(manifest, 300)
    assert cut
    with pytest.raises(BadArgument, match="was cut or masked"):
        parse_manifest(orjson.dumps(read).decode())
