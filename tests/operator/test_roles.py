import pytest

from gateway.errors import BadArgument
from gateway.kube.paths import Attributes
from gateway.operator.naming import account
from gateway.operator.roles import ROLES, Role, manifests, narrowed, shipped
from gateway.policy.options import PolicyOptions
from gateway.policy.rules import check

POLICIES = {
    "read-only": {},
    "applies": {"writes": ["apply"]},
    "all": {"writes": ["apply", "post", "delete"], "subresources": ["pods/exec", "pods/eviction"]},
    "few kinds": {"writes": ["apply"], "kinds": {"allow": ["pods", "deployments.apps", "nodes"]}},
    "no nodes": {"kinds": {"deny": ["nodes"]}, "restrictedGroups": ["networking.k8s.io"]},
    "few namespaces": {"namespaces": {"allow": ["shop"]}, "kinds": {"allow": ["pods", "nodes"]}},
    "not kube-system": {"namespaces": {"deny": ["kube-system"]}},
}
SUBJECT = "kube-mcp-gateway/agent-ada"


def rights(role: Role) -> list[tuple[bool, str, str, str, str]]:
    """Return each right of a role: whether in namespaces, then verb, group, resource and subresource."""
    found = []
    for namespaced, rules in ((True, role.namespaced), (False, role.cluster)):
        for rule in rules:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    plural, _, subresource = resource.partition("/")
                    found += [(namespaced, verb, group, plural, subresource) for verb in rule["verbs"]]
    return found


@pytest.mark.parametrize("name", ROLES)
def test_a_shipped_role_names_all_it_allows_and_nothing_restricted(name: str) -> None:
    """No wildcard, no Secret, no service account, nothing of RBAC, and no subresource that the gateway never uses."""
    found = rights(shipped(name))
    assert found
    for _, verb, group, resource, subresource in found:
        assert "*" not in (verb, group, resource)
        assert resource not in ("secrets", "serviceaccounts")
        assert group != "rbac.authorization.k8s.io"
        assert subresource in ("", "log", "status", "scale", "exec", "eviction")
    writes = {verb for _, verb, *_ in found} - {"get", "list", "watch"}
    assert writes == {"viewer": set(), "operator": {"create", "patch", "delete"}, "debugger": {"create"}}[name]


@pytest.mark.parametrize("policy_name", POLICIES)
@pytest.mark.parametrize("name", ROLES)
def test_what_is_bound_is_never_wider_than_the_policy(name: str, policy_name: str) -> None:
    """Each right that is left passes the policy's own check; a role that would be left without its use is refused."""
    policy = PolicyOptions.model_validate(POLICIES[policy_name])
    role = shipped(name)
    if not (role.writes <= policy.writes and role.subresources <= policy.subresources):
        with pytest.raises(BadArgument, match=f"Role {name} is wider than the cluster's policy"):
            narrowed(role, policy)
        return
    left = narrowed(role, policy)
    assert left.namespaced
    for namespaced, verb, group, resource, subresource in rights(left):
        inside = min(policy.namespaces.allow, default="default") if namespaced else ""
        object_name = "" if verb in ("list", "watch", "create") and not subresource else "one"
        checked = Attributes(verb, group, "v1", resource, subresource, inside, object_name)
        if (group, resource) == ("", "namespaces"):
            continue  # by name each is judged as what is inside; RBAC can't tell them apart
        check(policy, checked, namespaced=namespaced)


def test_a_policy_of_namespaces_is_bound_in_each_that_it_leaves() -> None:
    """RBAC can't deny, so nothing is bound for the whole cluster but what is in no namespace."""
    existing = ["default", "kube-system", "shop"]

    def bound(rules: dict[str, list[str]]) -> list[str]:
        policy = PolicyOptions.model_validate({"namespaces": rules})
        made = manifests(narrowed(shipped("viewer"), policy), policy, SUBJECT, existing, None)
        return [
            f"{one['metadata'].get('namespace', '*')}:{one['roleRef']['name'].removeprefix('kube-mcp-gateway-')}"
            for one in made
            if "roleRef" in one
        ]

    assert bound({}) == ["*:viewer-cluster", "*:viewer"]
    assert bound({"deny": ["kube-system"]}) == ["*:viewer-cluster", "default:viewer", "shop:viewer"]
    assert bound({"allow": ["shop", "later"]}) == ["shop:viewer"]


def test_a_person_may_mint_the_tokens_of_their_own_account_alone() -> None:
    """The minter's role names the one account."""
    made = manifests(shipped("viewer"), PolicyOptions(), SUBJECT, [], "ada@example.com")
    (role,) = [one for one in made if one["kind"] == "Role"]
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "resourceNames": ["agent-ada"],
            "verbs": ["create"],
        }
    ]
    assert made[-1]["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada@example.com"}
    ]


@pytest.mark.parametrize(
    ("person", "named"),
    [("ada", "agent-ada"), ("Ada.Lovelace@example.com", "agent-ada-lovelace"), ("x" * 80, f"agent-{'x' * 57}")],
)
def test_each_person_has_an_account_by_rule(person: str, named: str) -> None:
    """What a directory calls people becomes a name that Kubernetes takes."""
    assert account(None, person) == f"kube-mcp-gateway/{named}"


@pytest.mark.parametrize("given", ["ada", "a/b/c", "A/b", "/x", "kube-system/"])
def test_a_given_account_has_a_namespace(given: str) -> None:
    """What is no `namespace/name` is refused before anybody is asked."""
    with pytest.raises(BadArgument, match="NAMESPACE/NAME"):
        account(given)
