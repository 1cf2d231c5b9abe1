from gateway.clusters.options import ClusterOptions
from gateway.protocol.outgoing import answer
from gateway.redaction.text import Clean
from gateway.telemetry.metrics import Metrics

CLUSTER = ClusterOptions(name="east", server="https://east.example:6443")
TEXT = "east\ntoken=abc\u202edef"


def test_the_last_look_masks_and_writes_out() -> None:
    """Credentials are masked and counted, and what no reader would see is written out."""
    assert answer(Metrics(), CLUSTER, TEXT) == "east · 1 value redacted\ntoken=[redacted: secret]"
    open_to_all = CLUSTER.model_copy(update={"redaction": False})
    assert answer(Metrics(), open_to_all, TEXT) == "east\ntoken=abc\\u202edef"


def test_what_was_looked_at_as_a_whole_is_not_looked_at_twice() -> None:
    """Only whoever has looked at all of a text may say so."""
    assert answer(Metrics(), CLUSTER, Clean(TEXT)) == TEXT
