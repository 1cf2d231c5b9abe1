"""What must hold of the repository itself, whatever the code in it does."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent

# Spelled so that this file doesn't name what it looks for.
INDEX_HOST = re.compile(
    r"py(pi|thonhosted)[.]org|(proxy|sum)[.]golang[.]org|npmjs[.]org|crates[.]io|index-url|find-links"
)
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(work|root|home|Users)/\w|/tmp/\w+/(main|venv)\b")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file that a clone has."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def project() -> dict[str, list[str]]:
    """Requirements by the lock file that has to meet them."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = [*table["project"]["dependencies"], *table["project"]["optional-dependencies"]["fast"]]
    groups = table["dependency-groups"]
    return {
        "runtime.lock": runtime,
        "build.lock": [*table["build-system"]["requires"], *groups["build"]],
        "dev.lock": [*runtime, *groups["build"], *(line for line in groups["dev"] if isinstance(line, str))],
    }


def pins(lock: str) -> dict[str, Version]:
    """Return what a lock file pins, by normalised name."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> Iterator[str]:
    """Yield `file:line: text` for each line in which the pattern occurs; binary files have no lines."""
    for file in files:
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{file.relative_to(ROOT)}:{number}: {line.strip()[:200]}"


@pytest.mark.parametrize("pattern", [INDEX_HOST, MACHINE_PATH], ids=["index host", "machine path"])
def test_a_clone_depends_on_nobody_s_surroundings(tracked: list[Path], pattern: re.Pattern[str]) -> None:
    """No tracked file names a package index or a path of the machine it was written on."""
    others = [file for file in tracked if file != Path(__file__)]
    assert others
    assert list(lines_with(pattern, others)) == []


def test_lock_files_have_no_address(tracked: list[Path]) -> None:
    """A lock file holds names, versions and hashes only, so that it installs from whichever index is configured."""
    locks = [file for file in tracked if file.suffix == ".lock"]
    assert {file.name for file in locks} >= {"dev.lock", "runtime.lock", "build.lock"}
    assert list(lines_with(re.compile(r"://|^--|^-[ief]\b|@ "), locks)) == []


@pytest.mark.parametrize("lock", ["dev.lock", "runtime.lock", "build.lock"])
def test_locks_meet_the_declared_requirements(project: dict[str, list[str]], lock: str) -> None:
    """Each requirement of pyproject.toml is pinned within its range: a changed range without `make lock` is noticed."""
    pinned = pins(lock)
    for requirement in map(Requirement, project[lock]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}: run `make lock`"
        assert version in requirement.specifier, f"{lock} has {requirement.name} {version}: run `make lock`"


@pytest.mark.parametrize("lock", ["runtime.lock", "build.lock"])
def test_what_is_shipped_is_what_was_tested(lock: str) -> None:
    """The container's packages are the same versions as the development environment's."""
    tested = pins("dev.lock")
    assert {name: tested.get(name) for name in pins(lock)} == pins(lock)


@pytest.mark.parametrize("lock", ["dev.lock", "runtime.lock", "build.lock"])
def test_every_pin_has_a_hash(lock: str) -> None:
    """Nothing is installed that is not exactly what was locked."""
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / "requirements" / lock).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_module_says_what_it_is_the_boundary_of(tracked: list[Path]) -> None:
    """Each module of the gateway begins with a sentence about itself, in one line."""
    modules = [file for file in tracked if file.suffix == ".py" and file.is_relative_to(ROOT / "gateway")]
    assert modules
    wordless = []
    for module in modules:
        first = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]
        if not first.endswith("."):
            wordless.append(str(module.relative_to(ROOT)))
    assert wordless == []


def test_license_is_apache_2() -> None:
    """The licence that pyproject.toml declares is the text that is shipped."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert table["license"] == "Apache-2.0"
    assert table["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text().split()
    assert text[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in " ".join(text)


@pytest.mark.parametrize(
    ("python", "says"),
    [("", "No Python 3.11 or later was found"), ("/bin/false", "is not a Python 3.11 or later")],
    ids=["none", "too old"],
)
def test_make_says_which_python_it_needs(tmp_path: Path, python: str, says: str) -> None:
    """Without a Python that is new enough, make ends at once and says so, instead of failing half-way through."""
    made = subprocess.run(
        ["make", "venv", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0
    assert says in made.stderr
    assert not (tmp_path / "venv").exists()


def test_make_help_names_every_target() -> None:
    """`make` alone lists each target a person may call, with a line about it."""
    declared = re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert declared
    assert [target for target in declared if not re.search(rf"make {target} +\w", shown)] == []
