"""The boundary of questions about oneself: TokenRequest, TokenReview and the SelfSubject reviews."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.demo.identity import ISSUER
from gateway.demo.rbac import Attributes, User, service_account
from gateway.demo.route import Route
from gateway.demo.state import State
from gateway.demo.store import timestamp
from gateway.demo.wire import Answer, Call, Obj, bad_request, invalid, not_found

_ACCOUNTS = ("", "serviceaccounts")
_SHORTEST = 600


def claims_for(state: State, namespace: str, name: str, audiences: tuple[str, ...], seconds: int) -> Obj:
    """Return the claims of a service account's token; raises StatusError 404 when there is no such account."""
    account = state.store.get(_ACCOUNTS, namespace, name)
    if account is None:
        raise not_found("serviceaccounts", "", name)
    now = int(time.time())
    return {
        "aud": list(audiences),
        "exp": now + seconds,
        "iat": now,
        "iss": ISSUER,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
        },
        "nbf": now,
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def user_of(state: State, token: str) -> User | None:
    """Return whom a token belongs to, None for every token that is not good."""
    claims = state.keys.verify(token)
    return None if claims is None else _user(state, claims)


def _user(state: State, claims: Mapping[str, Any]) -> User | None:
    private = claims.get("kubernetes.io") or {}
    namespace, found = private.get("namespace", ""), private.get("serviceaccount") or {}
    name = found.get("name", "")
    account = state.store.get(_ACCOUNTS, namespace, name)
    if account is None or account["metadata"]["uid"] != found.get("uid"):
        return None
    if claims.get("sub") != f"system:serviceaccount:{namespace}:{name}":
        return None
    return service_account(namespace, name, found["uid"], f"JTI={claims['jti']}" if "jti" in claims else "")


def read_body(call: Call, kind: str) -> Obj:
    """Parse a JSON body; raises StatusError 400 in the words of the server's decoder."""
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        words = f"couldn't get version/kind; json parse error: {error}"
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {words}") from None
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind})")
    return body


def _answer(body: Obj, kind: str, route: Route, spec: Obj | None, status: Obj) -> Answer:
    version = f"{route.group}/{route.version}"
    document: Obj = {"kind": kind, "apiVersion": version, "metadata": {"creationTimestamp": timestamp()}}
    if kind != "SelfSubjectReview":
        document["metadata"] = {**(body.get("metadata") or {})}
    if spec is not None:
        document["spec"] = spec
    return Answer(201, orjson.dumps({**document, "status": status}))


def self_subject_review(user: User, route: Route, body: Obj) -> Answer:
    """Say who is asking."""
    return _answer(body, "SelfSubjectReview", route, None, {"userInfo": user.document()})


def access_review(state: State, user: User, route: Route, body: Obj) -> Answer:
    """Say whether the asking user, or the one the review names, may do something."""
    spec = body.get("spec") or {}
    who = user
    if route.plural != "selfsubjectaccessreviews":
        who = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    asked = spec.get("resourceAttributes")
    if asked is not None:
        attributes = Attributes(
            asked.get("verb", ""),
            asked.get("group", ""),
            asked.get("version", ""),
            asked.get("resource", ""),
            asked.get("subresource", ""),
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
    else:
        plain = spec.get("nonResourceAttributes") or {}
        attributes = Attributes(plain.get("verb", ""), path=plain.get("path", "/"))
    allowed = state.authorizer.allowed(who, attributes)
    status: Obj = {"allowed": allowed}
    if allowed:
        status["reason"] = "RBAC: allowed"
    kinds = {
        "selfsubjectaccessreviews": "SelfSubjectAccessReview",
        "subjectaccessreviews": "SubjectAccessReview",
        "localsubjectaccessreviews": "LocalSubjectAccessReview",
    }
    return _answer(body, kinds[route.plural], route, spec, status)


def rules_review(state: State, user: User, route: Route, body: Obj) -> Answer:
    """List what the asking user may do in a namespace."""
    namespace = (body.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise bad_request("no namespace on request")
    resources, paths = [], []
    for rule in state.authorizer.rules(user, namespace):
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
        else:
            resources.append(
                {key: rule[key] for key in ("verbs", "apiGroups", "resources", "resourceNames") if key in rule}
            )
    status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    return _answer(body, "SelfSubjectRulesReview", route, {}, status)


def token_review(state: State, route: Route, body: Obj) -> Answer:
    """Check somebody else's token."""
    spec = body.get("spec") or {}
    user = user_of(state, spec.get("token", ""))
    status: Obj = {"user": {}, "error": "[invalid bearer token]"}
    if user is not None:
        status = {"authenticated": True, "user": user.document(), "audiences": [ISSUER]}
    return _answer(body, "TokenReview", route, spec, status)


def token_request(state: State, route: Route, body: Obj) -> Answer:
    """Mint a token for a service account, its audiences in the order asked for."""
    spec = body.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or 3600)
    if seconds < _SHORTEST:
        value = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        raise invalid(
            "TokenRequest", "authentication.k8s.io", "", [("FieldValueInvalid", "spec.expirationSeconds", value)]
        )
    audiences = tuple(spec.get("audiences") or (ISSUER,))
    claims = claims_for(state, route.namespace, route.name, audiences, seconds)
    document = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": route.name, "namespace": route.namespace, "creationTimestamp": timestamp()},
        "spec": {"audiences": list(audiences), "expirationSeconds": seconds, "boundObjectRef": None},
        "status": {
            "token": state.keys.sign(claims),
            "expirationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"])),
        },
    }
    return Answer(201, orjson.dumps(document))
