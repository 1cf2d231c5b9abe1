"""Where a cluster's programs come from."""

from pathlib import Path

import pytest

from . import programs


def test_another_version_is_another_folder() -> None:
    """The cache is below XDG_CACHE_HOME, or ~/.cache, in a folder named by what pins the versions."""
    folder = programs.cache_directory({"XDG_CACHE_HOME": "/caches"})
    assert folder.parent == Path("/caches/kube-mcp-gateway/test-programs")
    assert programs.cache_directory({}).parent == Path.home() / ".cache/kube-mcp-gateway/test-programs"


def test_without_go_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is built and nothing can be, the error names the programs, Go and the way around it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert not programs.available(*programs.API_SERVER)
    with pytest.raises(programs.ProgramsMissingError, match=r"etcd, kube-apiserver .*go\.dev.* KUBEBUILDER_ASSETS"):
        programs.find(*programs.API_SERVER)


def test_assets_are_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs in KUBEBUILDER_ASSETS are used without a build, and they alone: it holds no controllers."""
    for name in programs.API_SERVER:
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find(*programs.API_SERVER) == {name: tmp_path / name for name in programs.API_SERVER}
    assert not programs.available(*programs.CONTROLLERS)
