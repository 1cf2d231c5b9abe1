"""A catalog holds what callers may name, and not a trace of the rest."""

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from gateway.discovery.catalog import Catalog, build, served_by
from gateway.discovery.documents import ServedVersion, from_aggregated
from gateway.kube.types import ResourceType
from gateway.policy.options import KindRules, PolicyOptions
from tests.discovery.conftest import Documents

POLICY = PolicyOptions()


def served(documents: Documents) -> tuple[ServedVersion, ...]:
    """Return all that the recorded cluster serves."""
    return from_aggregated(documents.api, core=True) + from_aggregated(documents.apis, core=False)


def with_broken(versions: tuple[ServedVersion, ...], broken: str) -> tuple[ServedVersion, ...]:
    """Return the same where one group/version can't be read."""
    return tuple(ServedVersion(v.group, v.version, None if v.api_version == broken else v.types) for v in versions)


def everything_in(catalog: Catalog) -> Iterator[ResourceType]:
    """Go through every type the catalog holds anywhere."""
    yield from catalog.types
    yield from catalog.preferred
    yield from catalog.kinds.values()
    for index in (catalog.full_names, catalog.short_names, catalog.versions):
        for types in index.values():
            yield from types


def words_in(catalog: Catalog) -> set[str]:
    """Return every name by which something is found."""
    keys = {*catalog.full_names, *catalog.short_names, *catalog.broken}
    return keys | {word for key in (*catalog.versions, *catalog.kinds) for word in key}


def test_all_versions_are_there_and_the_preferred_one_is_best(documents: Documents) -> None:
    """A type that is served twice is held twice, and found first in the server's preferred version."""
    catalog = build(served(documents), POLICY)

    assert [found.version for found in catalog.versions["autoscaling", "horizontalpodautoscalers"]] == ["v2", "v1"]
    assert [found.version for found in catalog.full_names["horizontalpodautoscaler"]] == ["v2"]
    assert [found.api_version for found in catalog.types[:3]] == ["v1"] * 3
    assert len(catalog.preferred) == len(catalog.versions) < len(catalog.types)


def test_version_that_can_not_be_read_is_not_the_best(documents: Documents) -> None:
    """A type is found in the version that is left while the preferred one is broken."""
    catalog = build(with_broken(served(documents), "autoscaling/v2"), POLICY)

    assert [found.version for found in catalog.full_names["horizontalpodautoscaler"]] == ["v1"]
    assert catalog.broken == ("autoscaling/v2", "metrics.k8s.io/v1beta1")


@pytest.mark.parametrize("broken", ["", "v1", "rbac.authorization.k8s.io/v1"])
def test_restricted_kinds_are_nowhere(documents: Documents, broken: str) -> None:
    """No index, count or note holds a restricted kind, its names or its group, not even when its group is broken."""
    catalog = build(with_broken(served(documents), broken), POLICY, build(served(documents), POLICY))

    restricted = {("", "secrets"), ("", "serviceaccounts")}
    for found in everything_in(catalog):
        assert (found.group, found.plural) not in restricted
        assert found.group != "rbac.authorization.k8s.io"
    for word in (
        "secrets",
        "Secret",
        "serviceaccount",
        "sa",
        "roles",
        "clusterrolebindings",
        "rbac.authorization.k8s.io",
    ):
        assert word not in words_in(catalog)
    assert "rbac" not in str(catalog)
    everything = [found for version in served(documents) for found in version.types or ()]
    assert len(catalog.types) == len(everything) - 6


def test_kinds_that_the_policy_does_not_offer_are_dropped(documents: Documents) -> None:
    """Denied kinds, kinds beside an allow-list and restricted groups go the same way."""
    denied = PolicyOptions(kinds=KindRules(deny=frozenset({"deployments.apps"})))
    allowed = PolicyOptions(kinds=KindRules(allow=frozenset({"pods", "deployments.apps", "secrets"})))
    restricted = PolicyOptions(restricted_groups=frozenset({"apps", "metrics.k8s.io"}))

    assert "deployments" not in build(served(documents), denied).full_names
    only = build(served(documents), allowed)
    assert [found.qualified for found in only.types] == ["pods", "deployments.apps"]
    assert only.broken == ()
    without = build(served(documents), restricted)
    assert "apps" not in words_in(without)
    assert without.broken == ()


def test_types_of_a_broken_version_are_kept_as_long_as_it_is_listed(documents: Documents) -> None:
    """What was known of an aggregated API is used until it answers again or is gone."""
    before = build(served(documents), POLICY)
    broken = build(with_broken(served(documents), "serving.example.dev/v1"), POLICY, before)
    gone = build(tuple(v for v in served(documents) if v.group != "serving.example.dev"), POLICY, before)

    assert broken.types == before.types
    assert broken.broken == ("metrics.k8s.io/v1beta1", "serving.example.dev/v1")
    assert ("serving.example.dev", "services") not in gone.versions
    unknown = build(with_broken(served(documents), "serving.example.dev/v1"), POLICY)
    assert ("serving.example.dev", "services") not in unknown.versions


def test_kept_types_do_not_slip_past_a_stricter_policy(documents: Documents) -> None:
    """What an earlier catalog holds is judged again."""
    before = build(served(documents), POLICY)
    strict = PolicyOptions(restricted_groups=frozenset({"serving.example.dev"}))

    catalog = build(with_broken(served(documents), "serving.example.dev/v1"), strict, before)
    assert ("serving.example.dev", "services") not in catalog.versions


def test_digest_tells_catalogs_apart_by_what_callers_may_name(documents: Documents) -> None:
    """Equal content under equal rules has one digest; another rule or another verb has another."""
    first, second = build(served(documents), POLICY), build(served(documents), PolicyOptions(force=True))
    denied = build(served(documents), PolicyOptions(kinds=KindRules(deny=frozenset({"pods"}))))
    broken = build(with_broken(served(documents), "apps/v1"), POLICY, first)

    assert first.digest == second.digest
    assert len({first.digest, denied.digest, broken.digest}) == 3


@pytest.mark.parametrize("core", [True, False])
def test_part_that_was_not_modified_is_taken_over(documents: Documents, core: bool) -> None:  # noqa: FBT001
    """Where only one of the two documents changed, the other's part comes from the catalog, broken ones included."""
    before = build(with_broken(served(documents), "serving.example.dev/v1"), POLICY, build(served(documents), POLICY))
    fresh = from_aggregated(documents.api, core=True) if not core else ()
    rest = with_broken(from_aggregated(documents.apis, core=False), "serving.example.dev/v1") if core else ()

    parts = served_by(before, core=True) + rest if core else fresh + served_by(before, core=False)
    after = build(parts, POLICY, before)
    assert set(after.broken) == set(before.broken)
    assert set(after.types) == set(before.types)
    assert {astuple(found)[:3] for found in after.preferred} == {astuple(found)[:3] for found in before.preferred}
