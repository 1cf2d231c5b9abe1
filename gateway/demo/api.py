"""The boundary of the embedded API server proper: from a call and its user to an answer, without any socket.

Authentication, then authorization, then the handler, in the real server's order, so that
refusals come in its order too.
"""

import logging
from collections.abc import Mapping

import orjson

from gateway.demo import deletes, metrics, patching, reads, reviews, writes
from gateway.demo.discovery import AGGREGATED, Document, Resource
from gateway.demo.exec import check, container_of, further_check, not_running
from gateway.demo.identity import ISSUER
from gateway.demo.logs import answer_log
from gateway.demo.rbac import ANONYMOUS, Attributes, User
from gateway.demo.route import Route, media, only, route
from gateway.demo.shell import Container
from gateway.demo.state import GIT_VERSION, State
from gateway.demo.subresources import answer_subresource
from gateway.demo.watch import watch
from gateway.demo.wire import (
    PLAIN,
    Answer,
    Call,
    Obj,
    PageNotFoundError,
    StatusError,
    bad_request,
    method_not_allowed,
    not_found,
)

_HEALTH = {"/healthz", "/readyz", "/livez"}
_PUBLIC = {"Cache-Control": "public, max-age=3600"}
_REVIEWS = {
    "selfsubjectreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "localsubjectaccessreviews",
    "tokenreviews",
}


def authenticate(state: State, call: Call) -> User:
    """Return who is asking; raises StatusError 401, the same for every bad token."""
    scheme, _, token = call.header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return ANONYMOUS  # as the real server does, for an empty Bearer too
    user = reviews.user_of(state, token.strip())
    if user is None:
        raise StatusError(401, "Unauthorized")
    return user


def _impersonated(state: State, user: User, headers: Mapping[str, str]) -> User:
    name = headers.get("impersonate-user")
    if not name:
        return user
    state.authorizer.check(user, Attributes("impersonate", plural="users", name=name))
    groups = tuple(filter(None, headers.get("impersonate-group", "").split(",")))
    for group in groups:
        state.authorizer.check(user, Attributes("impersonate", plural="groups", name=group))
    return User(name, (*groups, "system:authenticated"))


async def handle(state: State, call: Call, user: User | None = None) -> Answer:
    """Answer a call; `user` skips authentication, for the cluster's own administrator."""
    try:
        who = authenticate(state, call) if user is None else user
        asked = route(call)
        who = _impersonated(state, who, call.headers)
        state.authorizer.check(who, asked.attributes())
        return await (_resource(state, asked, call, who) if asked.is_resource else _plain(state, asked, call))
    except PageNotFoundError:
        return Answer(404, b"404 page not found\n", PLAIN, {"X-Content-Type-Options": "nosniff"})
    except StatusError as error:
        return error.answer()
    except Exception:  # the real server recovers from a panic just so
        logging.getLogger(__name__).exception("%s %s", call.method, call.path)
        words = b"This request caused apiserver to panic. Look in the logs for details.\n"
        return Answer(500, words, PLAIN)


def upgrade(state: State, call: Call) -> Container | Answer:
    """Return where an exec over WebSocket runs, or why it does not."""
    try:
        who = _impersonated(state, authenticate(state, call), call.headers)
        asked = route(call)
        state.authorizer.check(who, asked.attributes())
        resource = state.discovery.find(asked.group, asked.version, asked.plural)
        if resource is None or asked.subresource not in resource.subresources:
            raise _no_resource()
        state.authorizer.check(who, further_check(asked.attributes()))
        if asked.subresource != "exec":
            raise bad_request("the embedded cluster upgrades exec only")
        pod = reads.find(state, resource, asked)
        name = check(pod, call)
        return not_running(pod, name) or container_of(pod, name)
    except PageNotFoundError:
        return Answer(404, b"404 page not found\n", PLAIN)
    except StatusError as error:
        return error.answer()


async def _plain(state: State, asked: Route, call: Call) -> Answer:
    path = asked.path.rstrip("/") or "/"
    if call.method not in {"GET", "HEAD"}:
        raise PageNotFoundError
    if path in _HEALTH or path.startswith(tuple(f"{root}/" for root in _HEALTH)):
        words = f"[+]ping ok\n[+]log ok\n{path[1:]} check passed\n" if "verbose" in call.query else "ok"
        return Answer(200, words.encode(), PLAIN)
    if path in {"/version", "/openid/v1/jwks", "/.well-known/openid-configuration"}:
        only(call, "application/jwk-set+json" if path.endswith("jwks") else "application/json")
    if path == "/version":
        return Answer(200, orjson.dumps(_version(), option=orjson.OPT_INDENT_2))
    if path == "/openid/v1/jwks":
        return Answer(200, orjson.dumps(state.keys.jwks()), "application/jwk-set+json", _PUBLIC)
    if path == "/.well-known/openid-configuration":
        return Answer(200, orjson.dumps(_issuer(state)), headers=_PUBLIC)
    if path == "/":
        return Answer(200, orjson.dumps({"paths": ["/.well-known/openid-configuration", "/api", "/apis", "/version"]}))
    return _discovery(state, path, call)


def _version() -> Obj:
    return {
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none: this is the embedded cluster of kube-mcp-gateway, not Kubernetes",
        "compiler": "none",
        "platform": "python",
    }


def _issuer(state: State) -> Obj:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"https://{state.address}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in state.keys.accepted}),
    }


def _discovery(state: State, path: str, call: Call) -> Answer:
    known = state.discovery
    if path in {"/api", "/apis"}:
        if _wants_aggregated(call):
            return _document(known.aggregated(path), call)
        found: Obj | None = known.api_versions(state.address) if path == "/api" else known.group_list()
    else:
        _, root, *rest = path.split("/")
        if root == "api" and len(rest) == 1:
            found = known.resource_list("", rest[0])
        elif root == "apis" and len(rest) == 1:
            found = known.group(rest[0])
        elif root == "apis" and len(rest) == 2:
            if known.is_stale(*rest):
                return Answer(503, b"service unavailable\n", PLAIN, {"X-Content-Type-Options": "nosniff"})
            found = known.resource_list(*rest)
            if found is None and known.is_built_in(rest[0]):
                raise _no_resource()
        else:
            found = None
    if found is None:
        raise PageNotFoundError
    return reads.render(found, media(call))


def _wants_aggregated(call: Call) -> bool:
    for entry in call.header("accept").split(","):
        base, *options = (part.strip() for part in entry.split(";"))
        wanted = dict(option.partition("=")[::2] for option in options)
        if wanted.get("g") == "apidiscovery.k8s.io" and wanted.get("as") == "APIGroupDiscoveryList":
            if base == "application/json" and wanted.get("v") == "v2":
                return True
        elif base in {"application/json", "*/*", "application/yaml"}:
            return False
    media(call)
    return False


def _document(document: Document, call: Call) -> Answer:
    headers = {"ETag": document.etag, "Vary": "Accept", "Cache-Control": "public"}
    if document.etag in call.header("if-none-match"):
        return Answer(304, b"", AGGREGATED, headers)
    return Answer(200, document.body, AGGREGATED, headers)


async def _resource(state: State, asked: Route, call: Call, user: User) -> Answer:
    resource = state.discovery.find(asked.group, asked.version, asked.plural)
    if resource is None:
        if state.discovery.is_stale(asked.group, asked.version):
            return Answer(503, b"service unavailable\n", PLAIN, {"X-Content-Type-Options": "nosniff"})
        if not state.discovery.is_built_in(asked.group):
            raise PageNotFoundError
        raise _no_resource()
    if asked.plural in _REVIEWS and asked.group in {"authentication.k8s.io", "authorization.k8s.io"}:
        return _review(state, asked, call, user)
    homeless = asked.depth > 1 and resource.namespaced and not asked.namespace
    if homeless or (asked.namespace and not resource.namespaced and asked.plural != "namespaces"):
        raise _no_resource()
    if asked.subresource:
        if asked.subresource not in resource.subresources:
            raise _no_resource()
        if asked.subresource == "log":
            return _log(state, resource, asked, call)
        return answer_subresource(state, resource, asked, call)
    if asked.group == metrics.GROUP:
        return _metrics(state, resource, asked, call)
    return await _object(state, resource, asked, call)


def _no_resource() -> StatusError:
    return StatusError(404, "the server could not find the requested resource", details={})


async def _object(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    if asked.verb not in resource.verbs:
        raise method_not_allowed()
    match asked.verb:
        case "get":
            return reads.get(state, resource, asked, call)
        case "list":
            return reads.list_page(state, resource, asked, call)
        case "watch":
            return watch(state, resource, asked, call)
        case "create" if not (asked.name and asked.depth > 1):
            return writes.create(state, resource, asked, call)
        case "update" if asked.depth > 1:
            return writes.update(state, resource, asked, call)
        case "patch" if asked.depth > 1:
            return patching.patch(state, resource, asked, call)
        case "delete":
            return deletes.delete(state, resource, asked, call)
        case "deletecollection":
            return deletes.delete_collection(state, resource, asked, call)
        case _:
            raise method_not_allowed()


def _metrics(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    if asked.verb not in resource.verbs:
        raise method_not_allowed()
    found = list(metrics.items(state, resource, asked.namespace))
    if asked.verb == "get":
        for item in found:
            if item["metadata"]["name"] == asked.name:
                return reads.show(resource, item, call)
        raise not_found(f"{resource.plural}.{asked.group}", "", asked.name)
    match = reads.selector_of(resource, call)
    return reads.show_all(resource, [item for item in found if match is None or match(item)], {}, call)


def _log(state: State, resource: Resource, asked: Route, call: Call) -> Answer:
    if asked.verb != "get":
        raise method_not_allowed()
    media(call)
    return answer_log(state.logs, reads.find(state, resource, asked), call)


def _review(state: State, asked: Route, call: Call, user: User) -> Answer:
    if asked.verb != "create":
        raise method_not_allowed()
    body = reviews.read_body(call, "SelfSubjectReview")
    match asked.plural:
        case "selfsubjectreviews":
            return reviews.self_subject_review(user, asked, body)
        case "selfsubjectrulesreviews":
            return reviews.rules_review(state, user, asked, body)
        case "tokenreviews":
            return reviews.token_review(state, asked, body)
        case _:
            return reviews.access_review(state, user, asked, body)
