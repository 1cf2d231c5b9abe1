"""What may go out is decided by what the request is on the wire, and restricted kinds do not exist."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.errors import BadArgument, GatewayError, NotOffered, Refused
from gateway.kube.paths import Attributes
from gateway.policy.options import KindRules, NamespaceRules, PolicyOptions
from gateway.policy.rules import NEVER_SUBRESOURCES, check, is_restricted, kind_is_offered

READ_ONLY = PolicyOptions()
EVERYTHING = PolicyOptions(
    writes=frozenset({"apply", "post", "delete"}),
    subresources=frozenset({"pods/exec", "pods/eviction", *(f"pods/{name}" for name in NEVER_SUBRESOURCES)}),
    force=True,
)
RESTRICTED = [
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "anything"),
]
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]


def about(verb: str = "get", kind: str = "pods", namespace: str = "demo", name: str = "web") -> Attributes:
    """Make attributes; `kind` is `plural/subresource.group`, the last two where there are any."""
    qualified, _, subresource = kind.partition("/")
    plural, _, group = qualified.partition(".")
    return Attributes(verb, group, "v1", plural, subresource, namespace, name)


@pytest.mark.parametrize(("group", "plural"), RESTRICTED)
@pytest.mark.parametrize("verb", VERBS)
def test_restricted_kinds_do_not_exist(group: str, plural: str, verb: str) -> None:
    """No verb and no setting opens a restricted kind, and the words do not tell which it was."""
    with pytest.raises(NotOffered) as refusal:
        check(EVERYTHING, Attributes(verb, group, "v1", plural, "", "demo", "web"), namespaced=True)

    assert plural not in refusal.value.message
    assert "allow" not in refusal.value.message


@pytest.mark.parametrize(("group", "plural"), RESTRICTED)
def test_settings_can_not_offer_a_restricted_kind(group: str, plural: str) -> None:
    """A kind that is allowed by name stays restricted."""
    qualified = f"{plural}.{group}" if group else plural
    policy = PolicyOptions(kinds=KindRules(allow=frozenset({qualified})))

    with pytest.raises(NotOffered):
        check(policy, Attributes("get", group, "v1", plural, "", "demo", "web"), namespaced=True)


def test_operator_restricts_further_groups() -> None:
    """A group in `restrictedGroups` disappears as a whole, and others stay."""
    policy = PolicyOptions(restricted_groups=frozenset({"vault.example.com"}))

    assert is_restricted(policy, "vault.example.com", "anything")
    assert not is_restricted(policy, "example.com", "anything")
    assert not is_restricted(READ_ONLY, "vault.example.com", "anything")


def test_core_names_are_restricted_in_the_core_group_only() -> None:
    """Another group's kind of the same name, such as an operator's own secrets, is another kind."""
    assert not is_restricted(READ_ONLY, "sealed.example.com", "secrets")


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
@pytest.mark.parametrize("kind", ["pods", "pods/log", "pods/status", "deployments.apps/scale", "clusters.example.com"])
def test_reading_is_allowed_from_the_start(verb: str, kind: str) -> None:
    """Without any setting, kinds and the readable subresources may be read."""
    check(READ_ONLY, about(verb, kind), namespaced=True)


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
@pytest.mark.parametrize("kind", ["pods", "deployments.apps"])
def test_cluster_is_read_only_from_the_start(verb: str, kind: str) -> None:
    """Without a setting nothing may change."""
    with pytest.raises(Refused, match="read-only"):
        check(READ_ONLY, about(verb, kind), namespaced=True)


@pytest.mark.parametrize(
    ("write", "verb", "kind"),
    [
        *(("apply", "patch", "pods"), ("apply", "create", "pods"), ("delete", "delete", "pods")),
        *(("post", "get", "pods/exec"), ("post", "create", "pods/exec"), ("post", "create", "pods/eviction")),
    ],
)
def test_each_write_is_allowed_by_its_own_word(write: str, verb: str, kind: str) -> None:
    """Just the named write lets the verb pass; the other words do not."""
    named = ["pods/exec", "pods/eviction"]
    only = PolicyOptions.model_validate({"writes": [write], "subresources": named})
    others = PolicyOptions.model_validate({"writes": {"apply", "post", "delete"} - {write}, "subresources": named})

    check(only, about(verb, kind), namespaced=True)
    with pytest.raises(Refused):
        check(others, about(verb, kind), namespaced=True)


@pytest.mark.parametrize("verb", ["update", "deletecollection"])
def test_some_verbs_are_never_sent(verb: str) -> None:
    """The gateway never replaces an object whole and never deletes a collection, whatever the settings."""
    with pytest.raises(Refused):
        check(EVERYTHING, about(verb), namespaced=True)


@pytest.mark.parametrize("subresource", sorted(NEVER_SUBRESOURCES))
@pytest.mark.parametrize("verb", ["get", "create", "patch"])
def test_some_subresources_are_never_reached(subresource: str, verb: str) -> None:
    """What would hand out more than an object is refused even where the settings name it."""
    with pytest.raises(Refused):
        check(EVERYTHING, about(verb, f"pods/{subresource}"), namespaced=True)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_subresources_are_an_allow_list(verb: str) -> None:
    """A subresource nobody named is refused, also for writing where writes are allowed."""
    writes = PolicyOptions(writes=frozenset({"apply", "post", "delete"}))

    with pytest.raises(Refused, match="pods/exec"):
        check(writes, about(verb, "pods/exec"), namespaced=True)
    with pytest.raises(Refused, match="pods/unheard"):
        check(writes, about(verb, "pods/unheard"), namespaced=True)


def test_operator_adds_a_readable_subresource() -> None:
    """A subresource that the settings name may be read without any write being allowed."""
    policy = PolicyOptions(subresources=frozenset({"widgets/state"}))

    check(policy, about("get", "widgets/state"), namespaced=True)
    with pytest.raises(Refused):
        check(policy, about("get", "pods/state"), namespaced=True)


@pytest.mark.parametrize(
    ("rules", "offered"),
    [
        (KindRules(), True),
        (KindRules(allow=frozenset({"deployments.apps"})), True),
        (KindRules(allow=frozenset({"pods"})), False),
        (KindRules(allow=frozenset({"deployments"})), False),
        (KindRules(deny=frozenset({"deployments.apps"})), False),
        (KindRules(allow=frozenset({"deployments.apps"}), deny=frozenset({"deployments.apps"})), False),
        (KindRules(deny=frozenset({"deployments"})), True),
    ],
)
def test_kinds_are_offered_by_plural_and_group(rules: KindRules, offered: bool) -> None:  # noqa: FBT001
    """An empty list allows all, deny wins, and a name without a group is the core group's."""
    policy = PolicyOptions(kinds=rules)

    assert kind_is_offered(policy, "apps", "deployments") is offered
    if not offered:
        with pytest.raises(Refused, match="deployments"):
            check(policy, about("get", "deployments.apps"), namespaced=True)


@pytest.mark.parametrize(
    ("rules", "namespace", "passes"),
    [
        (NamespaceRules(), "demo", True),
        (NamespaceRules(allow=frozenset({"demo"})), "demo", True),
        (NamespaceRules(allow=frozenset({"demo"})), "kube-system", False),
        (NamespaceRules(deny=frozenset({"kube-system"})), "demo", True),
        (NamespaceRules(deny=frozenset({"kube-system"})), "kube-system", False),
        (NamespaceRules(allow=frozenset({"demo"}), deny=frozenset({"demo"})), "demo", False),
    ],
)
def test_namespaces_are_allowed_by_name(rules: NamespaceRules, namespace: str, passes: bool) -> None:  # noqa: FBT001
    """What is in a namespace, and the namespace object itself, follow the same rule."""
    policy = PolicyOptions(namespaces=rules, kinds=KindRules(allow=frozenset({"pods", "namespaces"})))
    itself = about("get", "namespaces", namespace, namespace)
    nameless_path = about("get", "namespaces", "", namespace)

    for attributes, namespaced in ((about(namespace=namespace), True), (itself, False), (nameless_path, False)):
        if passes:
            check(policy, attributes, namespaced=namespaced)
        else:
            with pytest.raises(Refused, match=namespace):
                check(policy, attributes, namespaced=namespaced)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (NamespaceRules(allow=frozenset({"b", "a"})), "a, b"),
        (NamespaceRules(deny=frozenset({"kube-system"})), "kube-system"),
    ],
)
def test_list_of_all_namespaces_must_name_one(rules: NamespaceRules, named: str) -> None:
    """Where only some namespaces are allowed, a list of all is refused with the names to choose by."""
    with pytest.raises(BadArgument, match=named):
        check(PolicyOptions(namespaces=rules), about("list", namespace="", name=""), namespaced=True)


def test_cluster_scoped_kinds_need_a_word_where_namespaces_are_limited() -> None:
    """A caller who is kept to namespaces sees nodes only if the settings name them."""
    kept = NamespaceRules(allow=frozenset({"demo"}))
    nodes = about("list", "nodes", namespace="", name="")

    with pytest.raises(Refused, match="demo"):
        check(PolicyOptions(namespaces=kept), nodes, namespaced=False)
    check(PolicyOptions(namespaces=kept, kinds=KindRules(allow=frozenset({"nodes"}))), nodes, namespaced=False)
    check(PolicyOptions(namespaces=NamespaceRules(deny=frozenset({"x"}))), nodes, namespaced=False)


@pytest.mark.parametrize(
    "document",
    [
        {"writes": ["everything"]},
        {"subresources": ["exec"]},
        {"confirmation": "maybe"},
        {"namespaces": {"allow": ["Kube System"]}},
        {"kinds": {"deny": ["Deployment"]}},
        {"restrictedGroups": ["Vault!"]},
        {"reads": []},
    ],
)
def test_mistakes_in_the_settings_are_found(document: dict[str, object]) -> None:
    """A word nobody declared or a name that can't exist is refused, because it would silently not apply."""
    with pytest.raises(ValidationError):
        PolicyOptions.model_validate(document)


WORDS = st.sampled_from(["", "pods", "secrets", "serviceaccounts", "roles", "exec", "log", "demo", "x", "rbac"])


@given(
    attributes=st.builds(
        Attributes,
        verb=st.sampled_from(VERBS),
        group=st.sampled_from(["", "apps", "rbac.authorization.k8s.io", "vault.example.com"]),
        version=st.just("v1"),
        resource=WORDS,
        subresource=WORDS,
        namespace=WORDS,
        name=WORDS,
    ),
    policy=st.builds(
        PolicyOptions,
        writes=st.frozensets(st.sampled_from(["apply", "post", "delete"])),
        subresources=st.frozensets(st.sampled_from(["pods/exec", "pods/eviction", "secrets/log", "pods/token"])),
        namespaces=st.builds(NamespaceRules, allow=st.frozensets(st.just("demo")), deny=st.frozensets(st.just("x"))),
        kinds=st.builds(KindRules, allow=st.frozensets(st.just("secrets"))),
        restricted_groups=st.frozensets(st.just("vault.example.com")),
    ),
    namespaced=st.booleans(),
)
def test_nothing_passes_that_a_promise_forbids(
    attributes: Attributes,
    policy: PolicyOptions,
    namespaced: bool,  # noqa: FBT001
) -> None:
    """Whatever is asked under whatever policy: it passes only if no rule is against it."""
    try:
        check(policy, attributes, namespaced=namespaced)
    except GatewayError:
        return

    assert not is_restricted(policy, attributes.group, attributes.resource)
    assert kind_is_offered(policy, attributes.group, attributes.resource)
    assert attributes.namespace not in policy.namespaces.deny
    assert attributes.subresource not in NEVER_SUBRESOURCES
    if attributes.verb not in {"get", "list", "watch"} or attributes.subresource in {"exec", "eviction"}:
        assert policy.writes
    assert attributes.name or attributes.verb not in {"patch", "delete"}


@pytest.mark.parametrize("verb", ["patch", "delete"])
def test_a_collection_is_never_changed(verb: str) -> None:
    """Without a name the API server would take the whole collection; no policy can allow that."""
    policy = PolicyOptions(writes=frozenset({"apply", "post", "delete"}), confirmation="none", force=True)
    one = Attributes(verb, "", "v1", "configmaps", "", "demo", "a")
    check(policy, one, namespaced=True)
    with pytest.raises(Refused, match="one named object at a time"):
        check(policy, replace(one, name=""), namespaced=True)
