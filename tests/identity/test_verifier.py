"""From a Bearer token to a principal, with real clusters that answer, refuse, hang and change."""

import asyncio
import hmac
import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.clusters.registry import ClusterRegistry
from gateway.demo import EmbeddedCluster
from gateway.demo.faults import (
    ExpiredCertificate,
    Fault,
    Hang,
    Latency,
    Refuse,
    Reply,
    Reset,
    not_json,
    redirect,
    server_error,
    too_many_requests,
)
from gateway.errors import ClusterUnavailable, Unauthenticated
from gateway.identity import Identity, IdentityOptions
from gateway.identity.keys import KEYS_LAST, KEYS_REST
from gateway.identity.verifier import REFUSAL_LASTS, REVIEW_LASTS
from tests.identity.conftest import ISSUER, JWKS, REVIEWS, Scene, claims_for, forged, kid_of, listed, scene_of, until


def dials(cluster: EmbeddedCluster) -> int:
    """Count the requests and connections a cluster has seen."""
    return len(cluster.requests) + cluster.connections


ABOUT = "/.well-known/openid-configuration"


def review_of(username: object) -> Reply:
    """Return a cluster's word about whom a token belongs to."""
    body = {"kind": "SelfSubjectReview", "status": {"userInfo": {"username": username}}}
    return Reply(201, json.dumps(body).encode(), "application/json")


async def test_a_good_token_names_its_principal(scene: Scene) -> None:
    """Issuer, subject, cluster, key, digest, expiry and token id come from a token that the cluster's keys verify."""
    token = await scene.east.token()
    claims = jwt.decode(token, options={"verify_signature": False})
    principal = await scene.identity.authenticate(token)
    assert (principal.issuer, principal.subject) == (ISSUER, "system:serviceaccount:demo:mcp")
    assert (principal.cluster, principal.cluster_url) == ("east", scene.east.server)
    assert principal.cluster_key.url == scene.east.server
    assert len(principal.token_digest) == 64
    assert (principal.expires_at, principal.token_id) == (claims["exp"], claims["jti"])
    assert [seen.path for seen in scene.east.requests] == [JWKS]
    assert dials(scene.west) == 0


async def test_keys_are_the_issuers_whose_token_they_verify(scene: Scene) -> None:
    """Once the API server has accepted one token, whatever another issuer signed with its keys is its to judge."""
    await scene.identity.authenticate(await scene.east.token())
    assert (
        await scene.refused(scene.east.sign(claims_for(scene.east, iss="https://other.example")))
    ).reason == "rejected"
    assert [seen.path for seen in scene.east.requests] == [JWKS, REVIEWS]


@pytest.mark.parametrize("said", [ISSUER, 7])
async def test_whoever_reads_the_keys_without_being_verified_by_them_reads_their_issuer_too(
    scene: Scene, said: object
) -> None:
    """A token of an identity provider may bring keys for those that the cluster itself signed."""
    _, keys = await scene.east.request("GET", JWKS)
    about = Reply(200, json.dumps({"issuer": said}).encode(), "application/json")
    with (
        scene.east.fault(Reply(200, keys, "application/json"), paths=[JWKS]),
        scene.east.fault(about, paths=[ABOUT]),
        scene.east.fault(review_of("oidc:alice"), paths=[REVIEWS]),
    ):
        await scene.identity.authenticate(forged(scene.east, iss="https://idp.example", sub="alice"))
    asked = [seen.path for seen in scene.east.requests]
    assert asked == [JWKS, ABOUT, REVIEWS]
    await scene.identity.authenticate(await scene.east.token())
    assert [seen.path for seen in scene.east.requests][3:] == ([] if said == ISSUER else [JWKS])


async def test_a_live_verdict_asks_nobody_and_waits_for_nothing(scene: Scene) -> None:
    """A token seen before is a digest and a look-up, even with its cluster down; nothing in it suspends."""
    token = await scene.east.token()
    principal = await scene.identity.authenticate(token)
    before = dials(scene.east)
    with scene.east.fault(Refuse()), pytest.raises(StopIteration) as returned:
        scene.identity.authenticate(token).send(None)
    assert returned.value.value is principal
    assert dials(scene.east) == before


async def test_keys_are_read_once_for_all_tokens(scene: Scene) -> None:
    """Fifty first callers at once cause one reading of the keys, and a later token none."""
    tokens = [await scene.east.token() for _ in range(50)]
    principals = await asyncio.gather(*map(scene.identity.authenticate, tokens))
    assert len({principal.token_digest for principal in principals}) == 50
    await scene.identity.authenticate(await scene.east.token(service_account="demo/viewer"))
    assert scene.east.count(path=JWKS) == 1
    assert scene.east.count(path=REVIEWS) == 0


async def test_the_reading_of_keys_survives_the_caller_who_began_it(scene: Scene) -> None:
    """The first of many gives up; the others get their answer from the reading that it began."""
    with scene.east.fault(Latency(0.05), paths=[JWKS]):
        tasks = [asyncio.create_task(scene.identity.authenticate(await scene.east.token())) for _ in range(5)]
        await until(lambda: scene.east.count(path=JWKS) == 1)
        tasks[0].cancel()
        principals = await asyncio.gather(*tasks[1:])
    assert tasks[0].cancelled()
    assert len(principals) == 4
    assert scene.east.count(path=JWKS) == 1


async def test_one_token_is_verified_once_for_all_its_callers(scene: Scene) -> None:
    """An agent's parallel first calls with one token cause one review, where the cluster publishes no keys."""
    token = await scene.east.token()
    with scene.east.fault(Reply(403), paths=[JWKS]):
        tasks = [asyncio.create_task(scene.identity.authenticate(token)) for _ in range(60)]
        await until(lambda: scene.east.count() > 0)
        tasks[0].cancel()
        await asyncio.gather(*tasks[1:])
    assert scene.east.count(path=REVIEWS) == 1


BAD: dict[str, tuple[str, Callable[[EmbeddedCluster], str]]] = {
    "no token": ("missing", lambda _: ""),
    "opaque": ("malformed", lambda _: "0123456789abcdef"),
    "not ASCII": ("malformed", lambda _: "\ud800.e30.c2ln"),
    "over 16 KiB": ("too_large", lambda east: east.sign(claims_for(east, filler="x" * 16384))),
    "alg none": ("malformed", lambda east: east.sign(claims_for(east), algorithm="none")),
    "alg none with a signature": (
        "algorithm",
        lambda east: east.sign(claims_for(east), algorithm="none") + "c2ln",
    ),
    "alg HS256": ("algorithm", lambda east: east.sign(claims_for(east), key="s" * 32, algorithm="HS256")),
    "critical header": ("malformed", lambda east: east.sign(claims_for(east), {"crit": ["x"], "x": 1})),
    "aud a string": ("audience", lambda east: east.sign(claims_for(east, aud=east.server))),
    "aud of two": ("audience", lambda east: east.sign(claims_for(east, aud=[east.server, "k-mcp"]))),
    "aud of four": ("audience", lambda east: east.sign(claims_for(east, aud=[east.server, "k-mcp", ISSUER, "x"]))),
    "aud reordered": ("audience", lambda east: east.sign(claims_for(east, aud=["k-mcp", east.server, ISSUER]))),
    "aud turned round": ("cluster", lambda east: east.sign(claims_for(east, aud=[ISSUER, "k-mcp", east.server]))),
    "aud repeats the gateway": ("audience", lambda east: east.sign(claims_for(east, aud=[east.server, "k-mcp"] * 2))),
    "third repeats the second": (
        "audience",
        lambda east: east.sign(claims_for(east, aud=[east.server, "k-mcp", "k-mcp"])),
    ),
    "third repeats the first": (
        "audience",
        lambda east: east.sign(claims_for(east, aud=[east.server, "k-mcp", east.server])),
    ),
    "another gateway's": ("audience", lambda east: east.sign(claims_for(east, aud=[east.server, "other", ISSUER]))),
    "userinfo": (
        "audience",
        lambda east: east.sign(claims_for(east, aud=[east.server.replace("//", "//me@"), "k-mcp", ISSUER])),
    ),
    "query": ("audience", lambda east: east.sign(claims_for(east, aud=[east.server + "?x=1", "k-mcp", ISSUER]))),
    "another port": (
        "cluster",
        lambda east: east.sign(claims_for(east, aud=[east.server.rpartition(":")[0] + ":1", "k-mcp", ISSUER])),
    ),
    "a path": ("cluster", lambda east: east.sign(claims_for(east, aud=[east.server + "/k8s", "k-mcp", ISSUER]))),
    "no exp": ("claims", lambda east: east.sign(claims_for(east, exp=None))),
    "exp past": ("expired", lambda east: east.sign(claims_for(east, exp=1_700_000_000))),
    "exp true": ("claims", lambda east: east.sign(claims_for(east, exp=True))),
    "exp NaN": ("malformed", lambda east: east.sign(claims_for(east, exp=float("nan")))),
    "exp infinite": ("malformed", lambda east: east.sign(claims_for(east, exp=float("inf")))),
    "nbf ahead": ("not_yet_valid", lambda east: east.sign(claims_for(east, nbf=claims_for(east)["nbf"] + 120))),
    "no sub": ("claims", lambda east: east.sign(claims_for(east, sub=None))),
    "no iss": ("claims", lambda east: east.sign(claims_for(east, iss=None))),
    "one character short": ("malformed", lambda east: east.sign(claims_for(east))[:-1]),
    "bytes behind": ("malformed", lambda east: east.sign(claims_for(east)) + "AAA"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_can_be_judged_without_a_dial_is(scene: Scene, kind: str) -> None:
    """A token that is bad in itself is refused with the right reason and advice, and no cluster hears of it."""
    reason, make = BAD[kind]
    error = await scene.refused(make(scene.east))
    assert error.reason == reason
    assert "k-mcp, its default audience" in error.message
    assert dials(scene.east) == dials(scene.west) == 0
    assert scene.identity.state().verdicts == 0


async def test_a_public_key_is_nobodys_secret(scene: Scene) -> None:
    """HMAC with the published key as its secret, the classic confusion, is refused by the algorithm's name alone."""
    token = await scene.east.token()
    await scene.identity.authenticate(token)
    _, document = await scene.east.request("GET", JWKS, accept="*/*")
    published = jwt.PyJWK(json.loads(document)["keys"][0]).key
    for form in ((Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": kid_of(token)}).encode()).decode()
        signed = f"{head}.{token.split('.')[1]}"
        digest = hmac.digest(published.public_bytes(*form), signed.encode(), "sha256")
        error = await scene.refused(f"{signed}.{jwt.utils.base64url_encode(digest).decode()}")
        assert error.reason == "algorithm"


async def test_a_key_that_a_token_brings_along_is_not_used(scene: Scene) -> None:
    """`jwk`, `jku` and `x5u` in the header neither verify anything nor make the gateway fetch anything."""
    mine = ec.generate_private_key(ec.SECP256R1())
    member = jwt.get_algorithm_by_name("ES256").to_jwk(mine.public_key(), as_dict=True)
    good = await scene.east.token()
    await scene.identity.authenticate(good)
    before = dials(scene.east)
    async with EmbeddedCluster("evil") as evil:
        brought = {"jwk": member, "jku": evil.server + JWKS, "x5u": evil.server, "kid": kid_of(good)}
        token = jwt.encode(claims_for(scene.east), mine, "ES256", headers=brought)
        assert (await scene.refused(token)).reason == "signature"
        assert dials(evil) == 0
    assert dials(scene.east) == before


@pytest.mark.parametrize("kid", ["../../../dev/null", "/proc/self/environ", "' UNION SELECT 'x", "x" * 2000, "%00"])
async def test_a_key_id_reaches_nothing_but_a_comparison(scene: Scene, kid: str) -> None:
    """A kid that is a path or a query is one that no key has."""
    await scene.identity.authenticate(await scene.east.token())
    assert (await scene.refused(forged(scene.east, kid=kid))).reason == "rejected"
    assert {seen.path for seen in scene.east.requests} == {JWKS, REVIEWS}


async def test_leftover_bits_do_not_make_a_second_token(scene: Scene) -> None:
    """A verified token's last character can't be varied to get another digest for the same signature."""
    token = await scene.east.token()
    await scene.identity.authenticate(token)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in set(alphabet) - {token[-1]}:
        assert (await scene.refused(token[:-1] + last)).reason in {"malformed", "signature"}


async def test_an_unlisted_cluster_is_never_dialled(scene: Scene) -> None:
    """A cluster nobody listed hears nothing, and its token gets the answer that a forged one for a listed one gets."""
    async with EmbeddedCluster("stranger") as stranger:
        unlisted = await scene.refused(await stranger.token())
        assert dials(stranger) == 0
    fake = await scene.refused(forged(scene.east))
    assert (unlisted.reason, fake.reason) == ("cluster", "rejected")
    assert unlisted.message == fake.message


async def test_every_refusal_that_knows_the_list_reads_the_same() -> None:
    """Unlisted, wrong path, wrong third audience, bad signature and a cluster's own no are one text."""
    async with scene_of(default_audience=ISSUER) as strict:
        token = await strict.east.token()
        await strict.identity.authenticate(token)
        errors = [
            await strict.refused(strict.east.sign(claims_for(strict.east, aud=["https://un.listed", "k-mcp", ISSUER]))),
            await strict.refused(await strict.east.token(), cluster_name="west"),
            await strict.refused(await strict.east.token(strict.east.server, "k-mcp", "third")),
            await strict.refused(forged(strict.east, kid=kid_of(token))),
            await strict.refused(forged(strict.east)),
        ]
    assert [error.reason for error in errors] == ["cluster", "path", "audience", "signature", "rejected"]
    assert len({error.message for error in errors}) == 1


async def test_the_path_must_name_the_tokens_cluster(scene: Scene) -> None:
    """`/mcp/{name}` never routes: another name, or one that does not exist, is refused before and after a verdict."""
    token = await scene.east.token()
    for name in ("west", "nowhere", "EAST", ""):
        assert (await scene.refused(token, cluster_name=name)).reason == "path"
    assert dials(scene.east) == dials(scene.west) == 0
    principal = await scene.identity.authenticate(token, cluster_name="east")
    assert await scene.identity.authenticate(token) is principal
    for name in ("west", "nowhere"):
        assert (await scene.refused(token, cluster_name=name)).reason == "path"


async def test_the_listed_url_works_in_any_spelling(scene: Scene) -> None:
    """Capitals and a trailing slash in the first audience name the same cluster."""
    url = scene.east.server.replace("127.0.0.1", "localhost")
    identity = Identity(ClusterRegistry([listed(scene.east, server=url)]), scene.pool, IdentityOptions())
    for spelled in (url.upper(), f"{url}/", url.replace("localhost", "LocalHost")):
        principal = await identity.authenticate(await scene.east.token(spelled, "k-mcp", ISSUER))
        assert principal.cluster_url == url
    await identity.close()


async def test_the_default_audience_is_held_where_it_is_set() -> None:
    """With `defaultAudience`, the third audience must be it; the operator may set it to the API server's own URL."""
    async with scene_of(default_audience=ISSUER) as scene:
        assert (await scene.refused(await scene.east.token(scene.east.server, "k-mcp", "other"))).reason == "audience"
        assert dials(scene.east) == 0
        await scene.identity.authenticate(await scene.east.token())
    async with scene_of(options=IdentityOptions(audience=ISSUER), default_audience=ISSUER) as scene:
        await scene.identity.authenticate(await scene.east.token(scene.east.server, ISSUER, ISSUER))


async def test_a_wrong_signature_by_a_known_key_is_a_definite_no(scene: Scene) -> None:
    """Where the keys tell, the cluster is not asked again, and the no is remembered for some seconds only."""
    token = await scene.east.token()
    await scene.identity.authenticate(token)
    before = dials(scene.east)
    fake = forged(scene.east, kid=kid_of(token))
    for _ in range(3):
        assert (await scene.refused(fake)).reason == "signature"
    header, payload, _ = token.split(".")
    assert (await scene.refused(f"{header}.{payload}.{'A' * 86}")).reason == "signature"
    changed = jwt.utils.base64url_encode(json.dumps(claims_for(scene.east, sub="system:admin")).encode()).decode()
    assert (await scene.refused(f"{header}.{changed}.{token.split('.')[2]}")).reason == "signature"
    assert dials(scene.east) == before
    assert scene.identity.state().refusals == 3
    with pytest.raises(Unauthenticated):
        scene.identity.authenticate(forged(scene.east, kid=kid_of(token), jti="2")).send(None)


async def test_a_clusters_no_is_remembered_for_some_seconds(scene: Scene) -> None:
    """A token that the cluster refused costs it one question in that time, not one a call."""
    fake = forged(scene.east)
    for _ in range(5):
        assert (await scene.refused(fake)).reason == "rejected"
    assert scene.east.count() == 1
    scene.clock.advance(REFUSAL_LASTS)
    await scene.refused(fake)
    assert scene.east.count() == 2


async def test_another_clusters_token_is_refused(scene: Scene) -> None:
    """Equal issuer and subject, another cluster's key: good there, nothing here, with keys known or not."""
    for _ in range(2):
        stolen = await scene.west.token(scene.east.server, "k-mcp", ISSUER)
        assert (await scene.refused(stolen)).reason == "rejected"
        await scene.identity.authenticate(await scene.east.token())
    assert dials(scene.west) == 0


async def test_equal_names_on_two_clusters_are_two_principals(scene: Scene) -> None:
    """Issuer and subject do not tell clusters apart; the cluster's key does."""
    east, west = [await scene.identity.authenticate(await one.token()) for one in (scene.east, scene.west)]
    assert (east.issuer, east.subject) == (west.issuer, west.subject)
    assert east.cluster_key != west.cluster_key
    assert east.cluster_url != west.cluster_url


async def test_a_verdict_ends_with_the_token(scene: Scene) -> None:
    """A token verified by keys is believed until `exp` and not a second longer, and without the cluster until then."""
    token = await scene.east.token(seconds=7200)
    expires = (await scene.identity.authenticate(token)).expires_at
    with scene.east.fault(Refuse()):
        scene.clock.advance(expires - scene.clock.epoch - 0.5)
        await scene.identity.authenticate(token)
        scene.clock.advance(0.5)
        error = await scene.refused(token)
    assert error.reason == "expired"
    assert error.message.startswith("The token expired at 20")
    assert scene.identity.state().verdicts == 0


@pytest.mark.parametrize("status", [401, 403])
async def test_401_ends_a_verdict_and_only_the_cluster_renews_it(scene: Scene, status: int) -> None:
    """After `end`, the good signature counts no more: the cluster is asked, whatever it then says."""
    token = await scene.east.token()
    principal = await scene.identity.authenticate(token)
    scene.identity.end(principal.token_digest)
    assert scene.identity.state().verdicts == 0
    if status == 401:
        with scene.east.fault(Reply(401), paths=[REVIEWS]):
            assert (await scene.refused(token)).reason == "rejected"
    else:
        assert await scene.identity.authenticate(token) == principal
        scene.clock.advance(REVIEW_LASTS)
        await scene.identity.authenticate(token)
        assert scene.east.count(path=REVIEWS) == 2
    assert scene.east.count(path=JWKS) == 1


async def test_ending_an_unknown_verdict_does_nothing(scene: Scene) -> None:
    """A late 401 of a call whose verdict has gone already changes nothing."""
    scene.identity.end("0" * 64)
    await scene.identity.authenticate(await scene.east.token())
    assert scene.east.count(path=REVIEWS) == 0


@pytest.mark.parametrize("status", [403, 404])
async def test_a_cluster_without_public_keys_is_asked_about_each_token(scene: Scene, status: int) -> None:
    """Its own word is believed for 60 seconds."""
    token = await scene.east.token()
    with scene.east.fault(Reply(status), paths=[JWKS]):
        principal = await scene.identity.authenticate(token)
        assert principal.subject == "system:serviceaccount:demo:mcp"
        scene.clock.advance(REVIEW_LASTS - 0.5)
        await scene.identity.authenticate(token)
        assert scene.east.count(path=REVIEWS) == 1
        scene.clock.advance(0.5)
        await scene.identity.authenticate(token)
        assert scene.east.count(path=REVIEWS) == 2
        assert (await scene.refused(forged(scene.east))).reason == "rejected"
    assert scene.identity.state().reviews == 3


async def test_a_review_is_not_believed_beyond_the_token(scene: Scene) -> None:
    """A token with 30 seconds left is good for 30, not for 60."""
    token = await scene.east.token(seconds=30)
    with scene.east.fault(Reply(404), paths=[JWKS]):
        await scene.identity.authenticate(token)
        scene.clock.advance(31)
        assert (await scene.refused(token)).reason == "expired"


async def test_another_issuers_token_is_for_the_cluster_to_judge(scene: Scene) -> None:
    """An identity provider that the cluster trusts has its own keys; the cluster says whom its token belongs to."""
    await scene.identity.authenticate(await scene.east.token())
    with scene.east.fault(review_of("oidc:alice"), paths=[REVIEWS]):
        principal = await scene.identity.authenticate(forged(scene.east, iss="https://idp.example", sub="alice"))
    assert (principal.issuer, principal.subject) == ("https://idp.example", "oidc:alice")
    other_issuer = scene.east.sign(claims_for(scene.east, iss="https://idp.example"))
    assert (await scene.refused(other_issuer)).reason == "rejected"
    scene.clock.advance(KEYS_REST)
    await scene.refused(scene.east.sign(claims_for(scene.east, iss="https://idp.example", jti="2")))
    assert scene.east.count(path=JWKS) == 1


@pytest.mark.parametrize(
    "reply",
    [
        *(Reply(403), Reply(404), Reply(400), not_json(), Reply(201, b"[]"), Reply(201, b'{"status":{"userInfo":{}}}')),
        *(review_of(""), review_of(1), review_of(None), review_of("a\nb")),
    ],
)
async def test_a_cluster_that_can_not_say_whom_a_token_belongs_to(scene: Scene, reply: Reply) -> None:
    """Without keys and without a clear word there is no verdict, and no refusal either."""
    token = await scene.east.token()
    hidden = scene.east.fault(Reply(404), paths=[JWKS])
    unclear = pytest.raises(ClusterUnavailable, match="lets nobody read its keys")
    with hidden, scene.east.fault(reply, paths=[REVIEWS]), unclear:
        await scene.identity.authenticate(token)
    assert scene.identity.state().verdicts == scene.identity.state().refusals == 0


async def test_nobody_is_not_somebody(scene: Scene) -> None:
    """Something between that drops the Authorization header makes an anonymous caller, who is not let in."""
    with scene.east.fault(Reply(404), paths=[JWKS]), scene.east.fault(review_of("system:anonymous"), paths=[REVIEWS]):
        assert (await scene.refused(await scene.east.token())).reason == "rejected"


async def test_rotation_of_the_signing_key_loses_nobody(scene: Scene) -> None:
    """Old tokens keep their verdict; a new key is read, or, while reading rests, the cluster is asked."""
    old = await scene.east.token()
    await scene.identity.authenticate(old)
    scene.east.rotate_keys(keep_old=True)
    early = await scene.east.token()
    await scene.identity.authenticate(early)
    assert (scene.east.count(path=JWKS), scene.east.count(path=REVIEWS)) == (1, 1)
    scene.clock.advance(KEYS_REST)
    await scene.identity.authenticate(early)
    await scene.identity.authenticate(await scene.east.token())
    await scene.identity.authenticate(old)
    assert (scene.east.count(path=JWKS), scene.east.count(path=REVIEWS)) == (2, 1)


async def test_unknown_key_ids_cause_one_reading_a_minute(scene: Scene) -> None:
    """Whatever key ids tokens claim, keys that were read rest for a minute; a good token with one is reviewed."""
    await scene.identity.authenticate(await scene.east.token())
    for number in range(20):
        await scene.refused(forged(scene.east, kid=f"random-{number}"))
    assert scene.east.count(path=JWKS) == 1
    scene.clock.advance(KEYS_REST)
    for number in range(5):
        claims = jwt.decode(await scene.east.token(), options={"verify_signature": False})
        await scene.identity.authenticate(scene.east.sign(claims, {"kid": f"odd-{number}"}))
    assert (scene.east.count(path=JWKS), scene.east.count(path=REVIEWS)) == (2, 25)


async def test_keys_are_read_again_after_ten_minutes(scene: Scene) -> None:
    """A key that was taken away stops verifying new tokens within that time."""
    spare = await scene.east.token()
    await scene.identity.authenticate(await scene.east.token())
    scene.east.rotate_keys(keep_old=False)
    scene.clock.advance(KEYS_LAST)
    assert (await scene.refused(spare)).reason == "rejected"
    await scene.identity.authenticate(await scene.east.token())
    assert scene.east.count(path=JWKS) == 3


async def test_a_failed_reading_does_not_count(scene: Scene) -> None:
    """The minute's rest begins with keys that were read, so one bad answer costs nobody a minute."""
    await scene.identity.authenticate(await scene.east.token())
    scene.east.rotate_keys()
    scene.clock.advance(KEYS_REST)
    token = await scene.east.token()
    with scene.east.fault(server_error(503), paths=[JWKS]), pytest.raises(ClusterUnavailable):
        await scene.identity.authenticate(token)
    await scene.identity.authenticate(token)
    assert scene.east.count(path=REVIEWS) == 0


async def test_a_forged_token_in_front_keeps_nobody_out(scene: Scene) -> None:
    """Who waits behind a forged token's question is not judged by its answer; each has a turn, in order."""
    fakes = [forged(scene.east, kid=f"k{number}") for number in range(8)]
    with scene.east.fault(Latency(0.02), paths=[JWKS], count=1):
        tasks = [asyncio.create_task(scene.refused(fake)) for fake in fakes[:4]]
        await until(lambda: scene.east.count(path=JWKS) == 1)
        honest = asyncio.create_task(scene.identity.authenticate(await scene.east.token()))
        tasks += [asyncio.create_task(scene.refused(fake)) for fake in fakes[4:]]
        assert (await honest).cluster == "east"
        errors = await asyncio.gather(*tasks)
    assert {error.reason for error in errors} == {"rejected"}
    assert scene.east.count(path=JWKS) == 5


DOWN: dict[str, Fault] = {
    "refused": Refuse(),
    "expired certificate": ExpiredCertificate(),
    "500": server_error(500),
    "503": server_error(503),
    "429": too_many_requests(7),
    "redirect": redirect("https://127.0.0.1:1/"),
    "reset": Reset(-1),
    "cut body": Reset(10),
    "over 4 MiB": Reply(200, b" " * (5 << 20), "application/json"),
    "no answer": Hang("tls"),
    "no handshake": Hang("accept"),
    "half an answer": Hang("half"),
}


@pytest.mark.parametrize("review", [False, True], ids=["keys", "review"])
@pytest.mark.parametrize("kind", DOWN)
async def test_a_cluster_that_can_not_be_asked_says_nothing_of_a_token(kind: str, *, review: bool) -> None:
    """Neither a verdict nor a refusal: the caller is told when to try again, others are served, and then it works."""
    patience = 0.3 if isinstance(DOWN[kind], Hang) else 10
    async with scene_of(deadline=2 * patience, limits={"connect_seconds": patience}) as scene:
        token = await scene.east.token()
        paths = [REVIEWS] if review else [JWKS]
        hidden = scene.east.fault(Reply(404), paths=[JWKS])
        with hidden if review else scene.east.fault(Latency(0), paths=["/none"]):
            with scene.east.fault(DOWN[kind], paths=paths), pytest.raises(ClusterUnavailable) as caught:
                await scene.identity.authenticate(token)
            assert caught.value.retry_after == (7 if kind == "429" else 5)
            assert "can't be asked" in caught.value.message
            assert f"Try again in {caught.value.retry_after} seconds." in caught.value.message
            assert scene.identity.state().verdicts == scene.identity.state().refusals == 0
            assert (await scene.served(await scene.west.token())).cluster == "west"
            assert (await scene.served(token)).cluster == "east"


async def test_a_callers_wait_has_one_end() -> None:
    """Whoever waits for others' turns, and then asks alone, is told to come back within the deadline all the same."""
    async with scene_of(deadline=0.5) as hurried:
        with hurried.east.fault(Latency(0.4), paths=[JWKS]):
            first = asyncio.create_task(hurried.identity.authenticate(forged(hurried.east)))
            await until(lambda: hurried.east.count(path=JWKS) == 1)
            with pytest.raises(ClusterUnavailable):
                await hurried.identity.authenticate(await hurried.east.token())
            await asyncio.wait([first])
            assert isinstance(first.exception(), Unauthenticated | ClusterUnavailable)


async def test_nobody_is_told_to_wait_for_long(scene: Scene) -> None:
    """A cluster may ask for an hour; the caller is told a minute."""
    with scene.east.fault(too_many_requests(3600)), pytest.raises(ClusterUnavailable) as caught:
        await scene.identity.authenticate(await scene.east.token())
    assert caught.value.retry_after == 60


async def test_a_key_set_beyond_reason_is_not_read(scene: Scene) -> None:
    """A cluster that publishes too much is asked about each token, as if it published nothing."""
    _, document = await scene.east.request("GET", JWKS, accept="*/*")
    with scene.east.fault(Reply(200, document + b" " * (256 << 10), "application/jwk-set+json"), paths=[JWKS]):
        await scene.identity.authenticate(await scene.east.token())
    assert (scene.identity.state().key_reads, scene.identity.state().reviews) == (0, 1)


async def test_an_unusable_ca_bundle_is_the_operators_trouble(tmp_path: Path) -> None:
    """Where a cluster's CA bundle can't be read, its tokens are neither accepted nor refused."""
    missing = tmp_path / "ca.pem"
    async with scene_of(certificate_authority=missing, certificate_authority_data=None) as scene:
        with pytest.raises(ClusterUnavailable, match="CA bundle"):
            await scene.identity.authenticate(await scene.east.token())
        missing.write_bytes(scene.east.ca_pem)
        scene.clock.advance(1)
        await scene.identity.authenticate(await scene.east.token())


async def test_a_new_ca_bundle_ends_what_was_known(tmp_path: Path) -> None:
    """Verdicts, refusals and keys hang on the CA: with another one, the cluster is asked again."""
    bundle = tmp_path / "ca.pem"
    async with scene_of(certificate_authority=bundle, certificate_authority_data=None) as scene:
        bundle.write_bytes(scene.east.ca_pem)
        token, elsewhere = await scene.east.token(), await scene.west.token()
        before = await scene.identity.authenticate(token)
        await scene.identity.authenticate(elsewhere)
        fake = forged(scene.east)
        await scene.refused(fake)
        asked = scene.east.count()
        scene.east.rotate_ca()
        bundle.write_bytes(scene.east.ca_pem)
        scene.clock.advance(1)
        await scene.refused(fake)
        assert scene.east.count() == asked + 1
        after = await scene.identity.authenticate(token)
        assert before.cluster_key != after.cluster_key
        assert after.subject == before.subject
        state = scene.identity.state()
        assert (state.verdicts, state.refusals, state.key_reads) == (2, 1, 3)


async def test_a_retired_key_takes_its_verdicts_along(scene: Scene) -> None:
    """`forget` ends what hangs on one cluster's key and leaves the other's."""
    east, west = await scene.east.token(), await scene.west.token()
    principal = await scene.identity.authenticate(east)
    await scene.identity.authenticate(west)
    await scene.refused(forged(scene.east))
    scene.identity.end(principal.token_digest)
    scene.identity.forget(principal.cluster_key)
    state = scene.identity.state()
    assert (state.verdicts, state.refusals) == (1, 0)
    await scene.identity.authenticate(east)
    assert scene.identity.state().reviews == 1  # the forged token's
    assert (scene.east.count(path=JWKS), scene.west.count(path=JWKS)) == (2, 1)


async def test_verification_has_its_own_small_lane(scene: Scene) -> None:
    """However many unverified tokens come, a few questions go out at a time, the rest is told to come back."""
    known = await scene.east.token()
    await scene.identity.authenticate(known)
    fakes = [forged(scene.east, kid=f"k{number}") for number in range(60)]
    with scene.east.fault(Hang("tls"), paths=[REVIEWS]):
        tasks = [task for number, fake in enumerate(fakes) for task in scene.arriving([fake], f"192.0.2.{number}")]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await until(lambda: scene.east.count(path=REVIEWS) >= 4)
        assert (len(done), len(waiting)) == (24, 36)
        assert {type(task.exception()) for task in done} == {ClusterUnavailable}
        # Known keys verify new tokens meanwhile, and the callers' lane is untouched.
        await scene.identity.authenticate(known)
        await scene.identity.authenticate(await scene.east.token())
        async with scene.pool.lease(listed(scene.east)) as lease:
            assert lease.gate.inside == lease.gate.waiting == 0
            assert (lease.verification.inside, lease.verification.waiting) == (4, 32)
        await scene.identity.close()
        await asyncio.wait(waiting)
    assert scene.east.count(path=REVIEWS) == 4


async def test_closing_ends_what_is_being_asked(scene: Scene) -> None:
    """No task outlives the identity that owns it."""
    with scene.east.fault(Hang("tls"), paths=[JWKS]):
        task = asyncio.create_task(scene.identity.authenticate(await scene.east.token()))
        await until(lambda: scene.east.count(path=JWKS) == 1)
        await scene.identity.close()
        await asyncio.wait([task])
    assert task.cancelled()
    assert scene.pool.state().leases == 0


async def test_a_set_audience_is_asked_for_and_told() -> None:
    """The gateway's own audience is the operator's choice, and the advice names it."""
    async with scene_of(options=IdentityOptions(audience="gw.example")) as scene:
        await scene.identity.authenticate(await scene.east.token(scene.east.server, "gw.example", ISSUER))
        error = await scene.refused(await scene.east.token())
    assert error.reason == "audience"
    assert "its API-server URL, gw.example, its default audience" in error.message
