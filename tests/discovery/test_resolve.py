"""People's names for kinds find what they mean, ask where they must, and never betray a restricted kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.discovery.catalog import Catalog, build
from gateway.discovery.documents import ServedVersion, from_aggregated
from gateway.discovery.resolve import (
    MAX_NEAREST,
    MAX_TYPED,
    Match,
    One,
    Several,
    Unknown,
    by_api_version,
    by_resource,
    resolve,
)
from gateway.kube.types import ResourceType
from gateway.policy.options import PolicyOptions
from tests.discovery.conftest import Documents


@pytest.fixture(scope="module")
def catalog(documents: Documents) -> Catalog:
    """The catalog of the recorded cluster."""
    served = from_aggregated(documents.api, core=True) + from_aggregated(documents.apis, core=False)
    return build(served, PolicyOptions())


def shown(match: Match) -> str:
    """Show a match in a line: `plural.version.group` of what was found."""
    match match:
        case One(found):
            return full(found)
        case Several(candidates):
            return "several: " + ", ".join(map(full, candidates))
        case Unknown(nearest):
            return "unknown: " + ", ".join(map(full, nearest))


def full(found: ResourceType) -> str:
    """Name a type with its version."""
    return ".".join(filter(None, (found.plural, found.version, found.group)))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("pods", "pods.v1"),
        ("pod", "pods.v1"),
        ("Pod", "pods.v1"),
        ("PODS", "pods.v1"),
        ("po", "pods.v1"),
        ("PO", "pods.v1"),
        ("  pods\n", "pods.v1"),
        ("pods.v1", "pods.v1"),
        ("pods.v1.", "pods.v1"),
        ("pods.", "pods.v1"),
        ("v1/Pod", "pods.v1"),
        ("v1/pods", "pods.v1"),
        ("V1/POD", "pods.v1"),
        ("core/v1/Pod", "pods.v1"),
        ("deployments", "deployments.v1.apps"),
        ("deploy", "deployments.v1.apps"),
        ("deployments.apps", "deployments.v1.apps"),
        ("Deployment.apps", "deployments.v1.apps"),
        ("deploy.apps", "deployments.v1.apps"),
        ("deployments.v1.apps", "deployments.v1.apps"),
        ("deployment.v1.APPS", "deployments.v1.apps"),
        ("apps/v1/Deployment", "deployments.v1.apps"),
        ("apps/v1/deployments", "deployments.v1.apps"),
        ("apps/Deployment", "deployments.v1.apps"),
        ("hpa", "horizontalpodautoscalers.v2.autoscaling"),
        ("horizontalpodautoscalers.v1.autoscaling", "horizontalpodautoscalers.v1.autoscaling"),
        ("autoscaling/v1/HorizontalPodAutoscaler", "horizontalpodautoscalers.v1.autoscaling"),
        ("endpoints", "endpoints.v1"),
        ("clusters.cache.example.com", "clusters.v1alpha1.cache.example.com"),
        ("Cluster.postgresql.example.org", "clusters.v1.postgresql.example.org"),
        ("clusters.v1beta1.postgresql.example.org", "clusters.v1beta1.postgresql.example.org"),
        ("pg", "clusters.v1.postgresql.example.org"),
        ("pg.postgresql.example.org", "clusters.v1.postgresql.example.org"),
    ],
)
def test_every_spelling_finds_its_type(catalog: Catalog, typed: str, found: str) -> None:
    """Kind, singular, plural, short name, with a group and with a version, in any case, find one type."""
    assert shown(resolve(catalog, typed)) == found


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("events", "events.v1"),
        ("ev", "events.v1"),
        ("event.events.k8s.io", "events.v1.events.k8s.io"),
        ("events.v1.events.k8s.io", "events.v1.events.k8s.io"),
        ("events.k8s.io/v1/Event", "events.v1.events.k8s.io"),
        ("services", "services.v1"),
        ("Service", "services.v1"),
        ("ksvc", "services.v1.serving.example.dev"),
        ("services.serving.example.dev", "services.v1.serving.example.dev"),
    ],
)
def test_kubernetes_own_groups_go_before_others(catalog: Catalog, typed: str, found: str) -> None:
    """An alias within Kubernetes, and an operator's kind that is named like a Kubernetes one, cause no question."""
    assert shown(resolve(catalog, typed)) == found


@pytest.mark.parametrize("typed", ["clusters", "cluster", "Cluster", " CLUSTERS "])
def test_kinds_of_two_operators_are_asked_about(catalog: Catalog, typed: str) -> None:
    """Nobody but the caller knows which is meant; the candidates differ by group and not by version."""
    assert (
        shown(resolve(catalog, typed))
        == "several: clusters.v1alpha1.cache.example.com, clusters.v1.postgresql.example.org"
    )


def made(group: str, plural: str, *short_names: str, version: str = "v1") -> ServedVersion:
    """Serve one type."""
    singular = plural.removesuffix("s")
    found = ResourceType(
        group, version, plural, singular.title(), singular, namespaced=True, verbs=frozenset(), short_names=short_names
    )
    return ServedVersion(group, version, (found,))


def test_full_name_goes_before_short_name() -> None:
    """A kind whose plural is another's short name is found by it, as kubectl does."""
    catalog = build([made("", "pods", "po"), made("river.example.com", "po")], PolicyOptions())

    assert shown(resolve(catalog, "po")) == "po.v1.river.example.com"


def test_installed_groups_are_not_kubernetes_own() -> None:
    """Gateway API is installed like any operator, so its gateways and another's are asked about."""
    catalog = build(
        [made("gateway.networking.k8s.io", "gateways"), made("networking.istio.io", "gateways")], PolicyOptions()
    )

    assert shown(resolve(catalog, "gateway")).startswith("several: ")


def test_short_name_of_two_operators_is_asked_about() -> None:
    """Short names collide more than full ones, and are treated alike."""
    catalog = build([made("a.example.com", "cats", "ct"), made("b.example.com", "cities", "ct")], PolicyOptions())

    assert shown(resolve(catalog, "ct")) == "several: cats.v1.a.example.com, cities.v1.b.example.com"


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("deploymnet", "deployments.v1.apps"),
        ("deployment/nginx", "deployments.v1.apps"),
        ("pods/log", "pods.v1"),
        ("deployments.v2.apps", "deployments.v1.apps"),
        ("deployments.extensions", "deployments.v1.apps"),
        ("apps/v2/Deployment", "deployments.v1.apps"),
        ("horiz", "horizontalpodautoscalers.v2.autoscaling"),
        ("statefullset", "statefulsets.v1.apps"),
    ],
)
def test_unknown_names_get_the_nearest(catalog: Catalog, typed: str, nearest: str) -> None:
    """A slip, a wrong group or version, or an object's name behind the kind leads to what was probably meant."""
    match = resolve(catalog, typed)

    assert isinstance(match, Unknown)
    assert full(match.nearest[0]) == nearest
    assert len(match.nearest) <= MAX_NEAREST


@pytest.mark.parametrize(
    "typed", ["", "   ", "/", "//", ".", "..", "v1/", "/v1", "pods/" + "x" * MAX_TYPED, "名前", "\x00"]
)
def test_what_is_no_name_is_unknown(catalog: Catalog, typed: str) -> None:
    """Nothing typed, nonsense and endless text get no suggestion."""
    assert resolve(catalog, typed) == Unknown(())


@pytest.mark.parametrize(
    ("restricted", "nonsense"),
    [
        ("secrets", "sekrets"),
        ("Secret", "Sekret"),
        ("v1/Secret", "v1/Sekret"),
        ("secrets.v1", "sekrets.v1"),
        ("serviceaccounts", "serviceakkounts"),
        ("sa", "sq"),
        ("clusterrolebinding", "klusterrolebinding"),
        ("rbac.authorization.k8s.io/v1/Role", "rbak.authorization.k8s.io/v1/Rolf"),
    ],
)
def test_restricted_kinds_resolve_as_unknown_ones(catalog: Catalog, restricted: str, nonsense: str) -> None:
    """A restricted kind is answered in just the way of a name that no cluster serves, and is never suggested."""
    for typed in (restricted, nonsense):
        match = resolve(catalog, typed)
        assert isinstance(match, Unknown)
        for found in match.nearest:
            assert found.plural not in {"secrets", "serviceaccounts"}
            assert found.group != "rbac.authorization.k8s.io"


def test_answer_to_a_restricted_name_does_not_hang_on_its_being_served(documents: Documents) -> None:
    """Cluster with Secrets and one without answer alike, so that the answer can't tell."""
    served = from_aggregated(documents.api, core=True)
    (core,) = served
    without = ServedVersion("", "v1", tuple(found for found in core.types or () if found.plural != "secrets"))

    for typed in ("secrets", "Secret", "secret.v1", "v1/secrets", "secretss"):
        assert resolve(build(served, PolicyOptions()), typed) == resolve(build([without], PolicyOptions()), typed)


def test_every_type_is_found_by_its_exact_names(catalog: Catalog) -> None:
    """Each type in each version is reached by the forms that name all of it, and by manifests and URIs."""
    for found in catalog.types:
        spelled = (full(found), f"{found.api_version}/{found.kind}", f"{found.api_version}/{found.plural}")
        assert [resolve(catalog, typed) for typed in spelled] == [One(found)] * 3
        assert by_api_version(catalog, found.api_version, found.kind) is found
        assert by_resource(catalog, found.group, found.version, found.plural) is found


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        *(("v1", "Secret"), ("v1", "pod"), ("v1", "pods"), ("apps/v2", "Deployment"), ("", "Pod"), ("v1", "")),
        ("rbac.authorization.k8s.io/v1", "Role"),
    ],
)
def test_manifests_are_taken_exactly(catalog: Catalog, api_version: str, kind: str) -> None:
    """A manifest's apiVersion and kind are no typed names: what is not spelled right, or restricted, is not found."""
    assert by_api_version(catalog, api_version, kind) is None


@pytest.mark.parametrize(
    ("group", "version", "plural"),
    [("", "v1", "secrets"), ("", "v1", "Pod"), ("", "v2", "pods"), ("core", "v1", "pods"), ("apps", "v1", "pods")],
)
def test_paths_are_taken_exactly(catalog: Catalog, group: str, version: str, plural: str) -> None:
    """The same for the names in URIs."""
    assert by_resource(catalog, group, version, plural) is None


@given(typed=st.text(max_size=60) | st.from_regex(r"[a-zA-Z0-9./ -]{0,60}"))
def test_any_text_is_answered(catalog: Catalog, typed: str) -> None:
    """Whatever is typed, there is an answer, and it holds only types of the catalog."""
    match = resolve(catalog, typed)

    match match:
        case One(found):
            assert found in catalog.types
        case Several(candidates):
            assert len({found.qualified for found in candidates}) == len(candidates) > 1
        case Unknown(nearest):
            assert set(nearest) <= set(catalog.preferred)
