from tests.workbench import Workbench


async def test_a_kind_is_found_by_a_part_of_its_name(bench: Workbench) -> None:
    """The answer says how many of how many match, and gives each on one line."""
    text = await bench.call("resource_types", {"query": "deploy"})
    assert text.splitlines()[0].startswith("cluster east · 1 of ")
    assert "deployments\tapps/v1\tDeployment\tnamespaced\tdeploy" in text
