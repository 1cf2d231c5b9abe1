"""What every folder of tests shares."""

from hypothesis import settings

pytest_plugins = ["tests.cluster.plugin", "tests.workbench"]

# An example that took long on a busy machine is no failure; the whole test has its time-out.
settings.register_profile("project", parent=settings(), deadline=None)
settings.load_profile("project")
