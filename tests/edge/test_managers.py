from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.edge.managers import Envelope, envelope_of


def message(method: str, **parameters: Any) -> bytes:
    """Return a JSON-RPC request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})


def test_a_message_says_what_it_needs() -> None:
    """A client that can be asked, one that wants progress, and one that listens are told from the rest."""
    plain = envelope_of(message("tools/call", name="x"))
    assert (plain.method, plain.can_be_asked, plain.wants_stream) == ("tools/call", False, False)
    assert envelope_of(message("initialize", capabilities={"elicitation": {}})).can_be_asked
    assert not envelope_of(message("initialize", capabilities={"elicitation": None})).can_be_asked
    assert envelope_of(message("tools/call", _meta={"progressToken": 0})).wants_stream
    assert envelope_of(message("subscriptions/listen")).wants_stream


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'[{"method":"initialize"}]',
        b'{"method":5}',
        b'{"method":null}',
        b"\xff",
        b'"method"',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b'{"method":"\\ud800"}',
    ],
)
def test_what_is_no_message_has_no_needs(body: bytes) -> None:
    """The SDK says what is wrong with it; here it is just not served in a special way."""
    assert envelope_of(body) == Envelope()


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["method", "params", "id", "capabilities", "elicitation", "_meta", "progressToken", "requestId"]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=15,
)


@given(body=st.one_of(st.binary(max_size=50), _JSON.map(orjson.dumps)))
@example(body=orjson.dumps({"method": "notifications/cancelled", "params": {"requestId": {"a": []}}}))
@example(body=orjson.dumps({"method": "tools/call", "id": []}))
def test_whatever_a_client_sends_has_an_envelope(body: bytes) -> None:
    """No bytes raise anything, and what is read of them can be compared and kept in a mapping."""
    envelope = envelope_of(body)
    assert isinstance(envelope.method, str)
    assert {envelope: 1}[envelope] == 1
