import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.contract.conftest import Cluster, Http

JWKS = "application/jwk-set+json"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_a_token_keeps_the_order_of_its_audiences(cluster: Cluster) -> None:
    """TokenRequest puts the audiences into `aud` in the order in which they were asked for."""
    token = await cluster.token("https://b.example", "k-mcp", "https://kubernetes.default.svc")
    assert _claims(token)["aud"] == ["https://b.example", "k-mcp", "https://kubernetes.default.svc"]


async def test_a_token_verifies_with_the_published_keys(cluster: Cluster, http: Http) -> None:
    """The key that /openid/v1/jwks publishes under a token's `kid` verifies its signature."""
    keys = jwt.PyJWKSet.from_dict((await http.get("/openid/v1/jwks", accept=JWKS)).json)
    header = jwt.get_unverified_header(http.token)
    claims = jwt.decode(
        http.token,
        keys[header["kid"]].key,
        algorithms=[header["alg"]],
        audience="k-mcp",
        issuer=_claims(http.token)["iss"],
    )
    assert claims["sub"] == "system:serviceaccount:demo:mcp"
    assert claims["aud"][0] == cluster.server


async def test_the_keys_come_in_one_form_only(http: Http) -> None:
    """Whoever asks for the keys as application/json alone gets 406: they are application/jwk-set+json."""
    answer = await http.get("/openid/v1/jwks", accept="application/json")
    assert (answer.status, answer.message.rpartition(": ")[2]) == (406, JWKS)
    assert (await http.get("/openid/v1/jwks", accept="*/*")).headers["Content-Type"] == JWKS


async def test_the_issuer_document_names_issuer_and_keys(http: Http) -> None:
    """/.well-known/openid-configuration names the issuer that is in the tokens, and where the keys are."""
    document = (await http.get("/.well-known/openid-configuration")).json
    assert document["issuer"] == _claims(http.token)["iss"] == "https://kubernetes.default.svc"
    assert document["jwks_uri"].endswith("/openid/v1/jwks")


async def test_the_keys_are_not_for_the_anonymous(http: Http) -> None:
    """Without a token the keys and discovery are forbidden, in words that name the path."""
    for path in ("/openid/v1/jwks", "/api", "/apis/apps/v1"):
        answer = await http.get(path, token="")
        assert answer.status == 403
        assert answer.message == f'forbidden: User "system:anonymous" cannot get path "{path}"'


async def test_a_service_account_without_any_role_can_ask_who_it_is(cluster: Cluster, http: Http, space: str) -> None:
    """Without any RBAC of its own a service account reads discovery, keys and version, and reviews itself."""
    await cluster.apply(f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: nobody, namespace: {space}}}\n")
    token = await cluster.token(service_account=f"{space}/nobody")
    for path in ("/api", "/apis", "/openid/v1/jwks", "/version"):
        assert (await http.get(path, token=token, accept="*/*")).status == 200
    answer = await http("POST", REVIEWS, REVIEW, token=token)
    assert answer.json["status"]["userInfo"]["username"] == f"system:serviceaccount:{space}:nobody"


async def test_a_review_of_oneself_names_user_and_groups(http: Http) -> None:
    """SelfSubjectReview answers 201 with name, uid and groups of the token's service account."""
    answer = await http("POST", REVIEWS, REVIEW)
    user = answer.json["status"]["userInfo"]
    assert (answer.status, user["username"]) == (201, "system:serviceaccount:demo:mcp")
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:demo", "system:authenticated"]
    assert user["uid"] == _claims(http.token)["kubernetes.io"]["serviceaccount"]["uid"]


async def test_every_bad_token_is_the_same_401(cluster: Cluster, http: Http) -> None:
    """Garbage, a foreign signature, a past expiry, a foreign audience: one Status, and no WWW-Authenticate."""
    claims = _claims(http.token)
    bad = [
        "garbage",
        cluster.sign({**claims, "exp": int(time.time()) - 60}),
        cluster.sign({**claims, "aud": ["k-mcp"]}),
        cluster.sign({**claims, "iss": "https://elsewhere.example"}),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        cluster.sign(claims, algorithm="none"),
        jwt.encode(claims, "x" * 32, algorithm="HS256"),
    ]
    for token in bad:
        answer = await http.get("/api/v1/namespaces", token=token)
        assert (answer.status, answer.message, answer.json["reason"]) == (401, "Unauthorized", "Unauthorized")
        assert "WWW-Authenticate" not in answer.headers


async def test_an_expired_token_is_refused(cluster: Cluster, http: Http) -> None:
    """A token with a past `exp` is not accepted."""
    assert (await http.get("/version", token=await cluster.token(seconds=-60))).status == 401


async def test_an_empty_bearer_is_anonymous(http: Http) -> None:
    """`Authorization: Bearer` with nothing behind it authenticates nobody, and is not refused as bad either."""
    answer = await http.get("/api/v1/namespaces", token="", headers={"Authorization": "Bearer "})
    assert answer.status == 403
    assert 'User "system:anonymous"' in answer.message


async def test_a_token_for_an_account_that_was_made_anew_is_refused(cluster: Cluster, http: Http, space: str) -> None:
    """A token names its account's uid; the same name with another uid is somebody else."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}}
    await http("POST", f"/api/v1/namespaces/{space}/serviceaccounts", account)
    claims = _claims(await cluster.token(service_account=f"{space}/other"))
    claims["kubernetes.io"]["serviceaccount"]["uid"] = "00000000-0000-4000-8000-000000000000"
    assert (await http("POST", REVIEWS, REVIEW, token=cluster.sign(claims))).status == 401


async def test_a_token_lives_at_least_ten_minutes(http: Http) -> None:
    """TokenRequest refuses lifetimes below 600 seconds."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 10}}
    answer = await http("POST", "/api/v1/namespaces/demo/serviceaccounts/mcp/token", body)
    assert answer.status == 422
    assert "may not specify a duration less than 10 minutes" in answer.message


async def test_what_rbac_refuses_is_said_in_full(cluster: Cluster, http: Http) -> None:
    """A refusal names user, verb, resource, group and namespace, or the cluster scope."""
    viewer = await cluster.token(service_account="demo/viewer")
    who = 'User "system:serviceaccount:demo:viewer"'
    wide = await http.get("/api/v1/pods", token=viewer)
    assert wide.message == (
        f'pods is forbidden: {who} cannot list resource "pods" in API group "" at the cluster scope'
    )
    named = await http.get("/apis/apps/v1/namespaces/default/deployments/web", token=viewer)
    assert named.message == (
        f'deployments.apps "web" is forbidden: {who} cannot get resource "deployments" in API group "apps" '
        'in the namespace "default"'
    )
    assert named.json["details"] == {"name": "web", "group": "apps", "kind": "deployments"}


async def test_the_viewer_sees_its_namespace_without_its_secrets(cluster: Cluster, http: Http) -> None:
    """The role `view` reads workloads in its namespace, never Secrets, and writes nothing."""
    viewer = await cluster.token(service_account="demo/viewer")
    assert (await http.get("/api/v1/namespaces/demo/pods", token=viewer)).status == 200
    assert (await http.get("/api/v1/namespaces/demo/secrets", token=viewer)).status == 403
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    assert (await http("POST", "/api/v1/namespaces/demo/configmaps", body, token=viewer)).status == 403


async def test_a_role_may_name_the_objects_it_is_about(cluster: Cluster, http: Http, space: str) -> None:
    """A rule's resourceNames let a name be got, and a list by just that name; nothing else."""
    await cluster.apply(f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: {space}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: one, namespace: {space}}}
rules: [{{apiGroups: [""], resources: [configmaps], resourceNames: [mine], verbs: [get, list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: one, namespace: {space}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: one}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {space}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: mine, namespace: {space}}}
""")
    reader = await cluster.token(service_account=f"{space}/reader")
    maps = f"/api/v1/namespaces/{space}/configmaps"
    assert (await http.get(f"{maps}/mine", token=reader)).status == 200
    assert (await http.get(f"{maps}?fieldSelector=metadata.name%3Dmine", token=reader)).status == 200
    assert (await http.get(f"{maps}/other", token=reader)).status == 403
    assert (await http.get(maps, token=reader)).status == 403


async def test_an_access_review_answers_for_the_asker(cluster: Cluster, http: Http) -> None:
    """SelfSubjectAccessReview says whether the token's owner may do something."""
    viewer = await cluster.token(service_account="demo/viewer")
    answers = []
    for verb in ("list", "delete"):
        attributes = {"verb": verb, "resource": "pods", "namespace": "demo"}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await http("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body, token=viewer)
        answers.append((answer.status, answer.json["status"]["allowed"]))
    assert answers == [(201, True), (201, False)]


async def test_impersonation_is_honoured_for_those_who_may(http: Http) -> None:
    """With cluster-admin's token an Impersonate-User header makes somebody else of the caller."""
    answer = await http("POST", REVIEWS, REVIEW, headers={"Impersonate-User": "jane"})
    assert answer.json["status"]["userInfo"]["username"] == "jane"
