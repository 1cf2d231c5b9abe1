import json

import pytest

from tests.cluster.cluster import RealCluster
from tests.contract.conftest import connect
from tests.contract.documents import DATA, reader, take


@pytest.mark.parametrize("name", ["api.json", "apis.json", "roles.json", "tables.json", "schema.json"])
async def test_what_embedded_clusters_serve_is_what_the_real_one_does(real_cluster: RealCluster, name: str) -> None:
    """The shipped documents are those of the real API server; `python -m tests.contract.documents` renews them."""
    if not real_cluster.controllers:
        pytest.skip("without a controller manager the aggregated roles stay empty")
    async with connect(real_cluster) as http:
        taken = await take(reader(http))
    assert taken[name] == json.loads((DATA / name).read_text())
