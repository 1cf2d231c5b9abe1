import pytest

from gateway.errors import ClusterUnavailable, GatewayError, NotOffered
from gateway.kube.errors import TooLarge, error_from
from gateway.tools.explain import explain

RBAC = (
    b'{"kind":"Status","message":"pods is forbidden: User \\"alice\\" cannot list resource \\"pods\\" in API group '
    b'\\"\\" in the namespace \\"kube-system\\"","reason":"Forbidden"}'
)
WEBHOOK = (
    b'{"kind":"Status","message":"admission webhook \\"policy.example\\" denied the request: no latest tags",'
    b'"reason":"Forbidden"}'
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            error_from(401, {}, b""),
            "The cluster no longer accepts the token. Ask the person to renew it, then call again.",
        ),
        (
            error_from(403, {}, RBAC),
            (
                'Forbidden by the cluster\'s RBAC: User "alice" cannot list resource "pods" in API group "" in the '
                'namespace "kube-system". Use a namespace or kind the token may read, or ask a person to grant it.'
            ),
        ),
        (
            error_from(403, {}, WEBHOOK),
            (
                'The cluster forbids it: admission webhook "policy.example" denied the request: no latest tags. '
                "Change the request accordingly, or ask a person."
            ),
        ),
        (
            error_from(404, {}, b'{"kind":"Status","message":"pods \\"web\\" not found","reason":"NotFound"}'),
            'pods "web" not found. Check name and namespace with resource_list, or the kind with resource_types.',
        ),
        (
            error_from(404, {}, b"404 page not found\n"),
            "404 page not found. Check name and namespace with resource_list, or the kind with resource_types.",
        ),
        (
            error_from(410, {}, b'{"kind":"Status","message":"or use the continue token in this response"}'),
            "Too old: the list has changed since. List again without `continue`.",
        ),
        (
            error_from(409, {}, b'{"kind":"Status","message":"the object has been modified"}'),
            "Conflict: the object has been modified. Read the object again and decide on what it is now.",
        ),
        (
            error_from(429, {"retry-after": "7"}, b"Too many requests, please try again later.\n"),
            (
                "The API server is busy (Too many requests, please try again later). "
                "Try again in 7 s, with a narrower request if possible."
            ),
        ),
        (
            error_from(400, {}, b'{"kind":"Status","message":"unable to parse requirement"}'),
            "The API server rejects the request: unable to parse requirement. Correct it and call again.",
        ),
        (
            error_from(503, {}, b"service unavailable\n"),
            "The API server failed with status 503: service unavailable. Try again once; tell a person if it lasts.",
        ),
        (
            error_from(307, {"location": "https://elsewhere.example"}, b""),
            (
                "The API server answered with a redirect, which is not followed. "
                "Tell a person: this cluster's address in the gateway's settings looks wrong."
            ),
        ),
        (
            TooLarge(8 << 20),
            (
                "The answer is larger than 8192 KB and was not read to the end. "
                "Narrow it: a namespace, a labelSelector, a smaller limit, or output=table or name."
            ),
        ),
        (NotOffered("No such thing. Look elsewhere."), "No such thing. Look elsewhere."),
        (ClusterUnavailable("It is down. Wait."), "It is down. Wait."),
    ],
)
def test_every_failure_says_what_to_do_next(error: GatewayError, text: str) -> None:
    """Kubernetes' own words where it said something, then the next step, in a sentence or two (promise 11)."""
    assert explain(error) == text
