from pathlib import Path
from textwrap import dedent

import pytest

from gateway.errors import GatewayError
from gateway.settings import SettingsError, load_settings
from gateway.settings.editing import with_cluster, without_cluster, write_settings

ROOT = Path(__file__).parent.parent
WEST = {"name": "west-2", "server": "https://west.example:7443", "policy": {"writes": ["apply", "post"]}}
PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"


def test_a_cluster_is_added_after_the_last_and_every_other_byte_stays() -> None:
    """The example's comments stand where they stood: those of the last cluster before the new one, others after."""
    before = (ROOT / "config" / "gateway.yaml").read_text()
    after = with_cluster(before, {**WEST, "certificateAuthorityData": PEM})
    entry = dedent("""\
          - name: west-2
            server: https://west.example:7443
            policy:
              writes: [apply, post]
            certificateAuthorityData: |
              -----BEGIN CERTIFICATE-----
              abc
              -----END CERTIFICATE-----
        """)
    entry = "".join(f"  {line}\n" for line in entry.splitlines())
    assert entry in after
    assert after.replace(entry, "") == before
    assert after.index("othersPerMinute") < after.index("west-2") < after.index("# More clusters, one file each")
    assert without_cluster(after, "west-2") == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "clusters:\n  - name: a\n    server: https://a.example\n"),
        ("audience: x", "audience: x\nclusters:\n  - name: a\n    server: https://a.example\n"),
        ("clusters: []\nlog: {}\n", "clusters:\n  - name: a\n    server: https://a.example\nlog: {}\n"),
        (
            "clusters:\n- name: b\n  server: https://b.example\n\n# end\n",
            "clusters:\n- name: b\n  server: https://b.example\n- name: a\n  server: https://a.example\n\n# end\n",
        ),
    ],
    ids=["empty", "no list", "empty list", "not indented"],
)
def test_a_cluster_is_added_however_the_list_is_written(before: str, after: str) -> None:
    """A missing or empty list becomes one, and another indentation is taken over."""
    assert with_cluster(before, {"name": "a", "server": "https://a.example"}) == after


def test_one_cluster_of_several_is_removed_with_its_own_comments() -> None:
    """What is indented under its dash goes, what stands between clusters stays; the last leaves an empty list."""
    text = "clusters:\n  # one\n  - name: a\n    # its\n    server: s\n  # two\n  - name: b\n    server: t\nlog: {}\n"
    without = without_cluster(text, "a")
    assert without == "clusters:\n  # one\n  # two\n  - name: b\n    server: t\nlog: {}\n"
    assert without_cluster(without, "b") == "clusters: []\nlog: {}\n"
    assert without_cluster(text, "c") == text


@pytest.mark.parametrize("text", ["clusters: [{name: a, server: s}]\n", '{"clusters": []}', "- a\n", "clusters: x\n"])
def test_a_list_that_can_not_be_added_to_is_left_alone(text: str) -> None:
    """Rather than rewriting what a person wrote, it is said that it has to be done by hand."""
    with pytest.raises(GatewayError, match=r"not written as a list with a dash for each"):
        with_cluster(text, WEST)


def test_settings_are_checked_before_they_are_written(tmp_path: Path) -> None:
    """A text with a mistake names it under the file's own name, and neither it nor a draft is left behind."""
    file = tmp_path / "gateway.yaml"
    file.write_text("audience: before\n")
    with pytest.raises(SettingsError) as caught:
        write_settings(file, with_cluster("", {"name": "A", "server": "https://a.example"}))
    assert f"{file}: clusters[0].name" in caught.value.message
    assert file.read_text() == "audience: before\n"
    assert list(tmp_path.iterdir()) == [file]


def test_settings_are_replaced_in_one_step_and_keep_their_mode(tmp_path: Path) -> None:
    """A link stays a link, a mode stays, and a file from which the last cluster went may be written."""
    real, file = tmp_path / "real.yaml", tmp_path / "gateway.yaml"
    real.write_text("")
    real.chmod(0o640)
    file.symlink_to(real)
    text = with_cluster("", {"name": "a", "server": "https://a.example"})
    assert write_settings(file, text) == load_settings(file)
    assert file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert write_settings(file, without_cluster(text, "a")) is None
    assert file.read_text() == "clusters: []\n"
