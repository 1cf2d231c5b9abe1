"""The image's contents, built once for all tests of this folder."""

import os
import shutil

import pytest

from tests.cluster.plugin import unavailable
from tests.container.image import Image, build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run the Dockerfile's build stage."""
    if os.geteuid() != 0 or shutil.which("runc") is None:
        unavailable("a container needs root and runc; on Debian and Ubuntu: apt-get install runc")
    return build(tmp_path_factory.mktemp("image"))
