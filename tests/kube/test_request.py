import pytest

from gateway.errors import BadArgument
from gateway.kube.request import Request


@pytest.mark.parametrize(
    ("verb", "method"),
    [
        ("get", "GET"),
        ("list", "GET"),
        ("watch", "GET"),
        ("create", "POST"),
        ("patch", "PATCH"),
        ("delete", "DELETE"),
    ],
)
def test_verbs_are_those_of_rbac(verb: str, method: str) -> None:
    """Each verb a policy knows has its HTTP method."""
    assert Request(verb=verb, group="", version="v1", resource="pods").method == method  # type: ignore[arg-type]


def test_a_query_is_escaped_and_in_order() -> None:
    """What a caller puts into a selector stays one parameter's value."""
    request = Request(
        verb="list",
        group="apps",
        version="v1",
        resource="deployments",
        namespace="demo",
        query=(("labelSelector", "a=b&limit=0#?%2F"), ("limit", "5")),
    )
    assert request.target(request.path()) == (
        "/apis/apps/v1/namespaces/demo/deployments?labelSelector=a%3Db%26limit%3D0%23%3F%252F&limit=5"
    )


def test_without_a_query_there_is_no_question_mark() -> None:
    """The path alone is the target."""
    request = Request(verb="get", group="", version="v1", resource="nodes", name="a")
    assert request.target(request.path()) == "/api/v1/nodes/a"


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "..", ".", "a\\b", "a\nb", "\x7f", "x" * 254])
def test_a_name_that_could_reach_another_path_is_never_a_path(name: str) -> None:
    """A request with such a name can be made as a value, and can't be sent."""
    with pytest.raises(BadArgument):
        Request(verb="get", group="", version="v1", resource="pods", namespace="demo", name=name).path()
