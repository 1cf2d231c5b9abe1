"""Nothing of a token leaves this room but in the Authorization header."""

import traceback
from typing import get_args

import pytest
from structlog.testing import capture_logs

from gateway.demo.faults import Fault, Hang, Latency, Refuse, Reply, server_error
from gateway.errors import ClusterUnavailable, GatewayError, Unauthenticated
from gateway.identity.claims import Reason, read_claims
from gateway.kube.credential import BearerToken
from tests.identity.conftest import ISSUER, JWKS, REVIEWS, Scene, claims_for, forged, scene_of


def pieces(token: str) -> list[str]:
    """Return the beginnings of a token's segments, which mark it wherever they turn up."""
    header, *others = token.split(".")
    return [header[-12:], *(segment[:24] for segment in others)]


def assert_absent(token: str, text: str) -> None:
    """Check that a text holds no recognisable part of a token."""
    for piece in pieces(token):
        assert piece not in text


async def outcome(scene: Scene, token: str) -> object:
    """Return what authentication comes to."""
    try:
        return await scene.identity.authenticate(token)
    except GatewayError as error:
        return error


async def test_no_text_holds_a_token() -> None:
    """Logs, results, errors with all that hangs on them, and every object's repr are free of it, in every outcome."""
    async with scene_of(deadline=0.5, limits={"connect_seconds": 0.3}) as scene:
        east = scene.east
        await scene.served(await east.token())
        echoing = forged(east, jti="6")
        cases: list[tuple[str, Fault, str]] = [
            (await east.token(), Latency(0), "/none"),
            (forged(east), Latency(0), "/none"),
            (await east.token(seconds=-5), Latency(0), "/none"),
            (await east.token("https://x.example", "k-mcp", ISSUER), Latency(0), "/none"),
            ((await east.token())[:-3], Latency(0), "/none"),
            (forged(east, jti="1"), Refuse(), "*"),
            (forged(east, jti="2"), server_error(500), REVIEWS),
            (forged(east, jti="3"), Reply(201, b"\xff{"), REVIEWS),
            (forged(east, jti="4"), Hang("tls"), REVIEWS),
            (forged(scene.west, jti="5"), Hang("tls"), JWKS),
            # A server that repeats what it was sent must not get it into an error's text either.
            (echoing, Reply(500, f"bad token {echoing}".encode()), REVIEWS),
        ]
        for token, fault, path in cases:
            with (
                capture_logs() as logs,
                east.fault(fault, paths=[path]),
                scene.west.fault(fault, paths=[path]),
            ):
                result = await outcome(scene, token)
            shown = [*vars(scene.identity).values(), scene.identity, scene.identity.state(), logs, result]
            for value in shown:
                assert_absent(token, repr(value))
            if isinstance(result, BaseException):
                assert_absent(token, "".join(traceback.format_exception(result)))


async def test_what_was_read_of_a_token_shows_no_signature(scene: Scene) -> None:
    """The values that stand for a token hide its text; a digest's beginning names it."""
    token = await scene.east.token()
    assert_absent(token, repr(read_claims(token)))
    assert_absent(token, repr(BearerToken.of(token)))
    assert_absent(token, str(BearerToken.of(token)))
    assert "signature" not in repr(read_claims(token))


async def test_reasons_are_of_a_fixed_set(scene: Scene) -> None:
    """Each reason is a word that metrics can be labelled with, and no message is longer than a few lines."""
    seen = set()
    for token in ["", "x", forged(scene.east), forged(scene.east, aud=[]), forged(scene.east, exp=1)]:
        result = await outcome(scene, token)
        assert isinstance(result, Unauthenticated)
        assert result.reason in get_args(Reason)
        assert len(result.message) < 300
        seen.add(result.reason)
    assert seen == {"missing", "malformed", "rejected", "audience", "expired"}


async def test_claims_are_not_repeated(scene: Scene) -> None:
    """A refusal is no mirror: what a token says of itself does not come back, be it markup or a made-up cluster."""
    marked = "https://marked.example"
    claims = claims_for(scene.east, iss="<script>marked", sub="marked\u202e", aud=[marked, "k-mcp", "marked"])
    for token in (
        scene.east.sign(claims),
        scene.east.sign({**claims, "sub": "marked"}),
        scene.east.sign({**claims, "sub": "x", "aud": ["marked", "k-mcp", "x"]}),
        scene.east.sign({**claims, "sub": "x", "aud": [marked, "marked", "x"]}),
        scene.east.sign(claims_for(scene.east, exp="marked")),
    ):
        assert "marked" not in (await scene.refused(token)).message


async def test_a_dead_cluster_is_not_named_to_strangers(scene: Scene) -> None:
    """The 503 tells no more than the caller brought: neither short name nor label nor address."""
    with scene.east.fault(Refuse()), pytest.raises(ClusterUnavailable) as caught:
        await scene.identity.authenticate(forged(scene.east))
    assert "east" not in caught.value.message
    assert "127.0.0.1" not in caught.value.message
