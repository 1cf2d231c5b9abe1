import os
from base64 import b64encode
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import ValidationError

from gateway.identity.options import IdentityOptions
from gateway.settings import Settings, SettingsError, load_settings
from tests.cluster.pki import Authority, new_authority

ROOT = Path(__file__).parent.parent
NAME = "expected small letters, digits and '-' inside, at most 63 characters, such as kind-east"
APART = "a token could not tell them apart"
LIST = 'expected a list as JSON, such as ["one", "two"]'
NO_PEM = "holds no PEM certificate (-----BEGIN CERTIFICATE-----)"
BASE64 = "base64, as in a kubeconfig, has to be decoded first"
NO_ASCII = "holds characters that are not ASCII; keep just the certificates"
NO_TAG = "could not determine a constructor for the tag"
KEYS = tuple(str(field.alias) for field in Settings.model_fields.values())


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of who runs the tests changes what they see."""
    for name in [name for name in os.environ if name.upper().startswith("KUBE_MCP_GATEWAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A CA, for bundles and for the endpoint's own certificate."""
    return new_authority("test")


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    """A folder with a CA bundle, and a certificate with its key."""
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    pair = authority.serving("gateway", ["127.0.0.1"])
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    return tmp_path


def written(folder: Path, text: str, name: str = "gateway.yaml") -> Path:
    """Write a settings file and return its path."""
    file = folder / name
    file.write_text(dedent(text))
    return file


def problems(file: Path | None = None, overrides: dict[str, Any] | None = None) -> list[str]:
    """Return the mistakes that loading names, with file names relative to the file's folder."""
    with pytest.raises(SettingsError) as raised:
        load_settings(file, overrides or {})
    folder = f"{file.parent}/" if file else ""
    return [problem.replace(folder, "") if folder else problem for problem in raised.value.problems]


def only(file: Path | None = None, overrides: dict[str, Any] | None = None) -> str:
    """Return the one mistake that loading names."""
    (problem,) = problems(file, overrides)
    return problem


def with_clusters(folder: Path, text: str) -> Path:
    """Write a settings file that lists one good cluster besides the text."""
    return written(folder, dedent(text) + "\nclusters: [{name: east, server: 'https://east.example:6443'}]\n")


class TestValues:
    """What a right file, variable or flag means."""

    def test_a_cluster_is_enough(self, tmp_path: Path) -> None:
        """All but a cluster has a default, and the defaults are loopback, read-only and the documented ports."""
        settings = load_settings(written(tmp_path, "clusters: [{name: east, server: https://East.example/}]"), {})
        assert settings.audience == "k-mcp"
        assert (settings.listen.host, settings.listen.port, settings.listen.drain_seconds) == ("127.0.0.1", 8080, 30)
        assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 9464)
        assert (settings.log.level, settings.log.format) == ("info", "auto")
        assert [cluster.server for cluster in settings.clusters] == ["https://east.example"]
        assert settings.clusters[0].policy.writes == frozenset()

    def test_a_flag_wins_over_a_variable_and_that_over_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each source hides just the values that it sets itself, however deep they are."""
        file = with_clusters(
            tmp_path, "audience: file\nlisten: {port: 1001, drainSeconds: 1, allowedHosts: [file.example]}"
        )
        monkeypatch.setenv("KUBE_MCP_GATEWAY_AUDIENCE", "variable")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_LISTEN__PORT", "1002")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_LISTEN__DRAIN_SECONDS", "2")
        settings = load_settings(file, {"audience": "flag", "listen": {"host": None, "port": 1003}})
        assert settings.audience == "flag"
        assert settings.listen.port == 1003
        assert settings.listen.drain_seconds == 2
        assert settings.listen.allowed_hosts == ("file.example",)
        assert settings.listen.host == "127.0.0.1"

    def test_variables_spell_every_setting(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable is the setting's path in capitals with underscores; lists and sections may be JSON."""
        variables = {
            "NBF_LEEWAY_SECONDS": "3",
            "LISTEN__ALLOWED_HOSTS": '["a.example", "b.example:*"]',
            "LISTEN__TRUSTED_PROXIES": '["10.0.0.0/8"]',
            "LISTEN__TLS": f'{{"certificate": "{folder}/tls.crt"}}',
            "LISTEN__TLS__KEY": f"{folder}/tls.key",
            "LISTEN__BEHIND_TLS_PROXY": "true",
            "ADMIN": '{"port": 1}',
            "LOG__LEVEL": "DEBUG",
            "CLUSTERS": '[{"name": "east", "server": "https://east.example", "limits": {"callSeconds": 5}}]',
            "CLUSTERS_DIRECTORY": str(folder / "more"),
            "AUDIENCE": "",
        }
        for name, value in variables.items():
            monkeypatch.setenv(f"KUBE_MCP_GATEWAY_{name}", value)
        (folder / "more").mkdir()
        settings = load_settings(None, {})
        assert settings.audience == "k-mcp"
        assert settings.nbf_leeway_seconds == 3
        assert settings.listen.allowed_hosts == ("a.example", "b.example:*")
        assert [str(network) for network in settings.listen.trusted_proxies] == ["10.0.0.0/8"]
        assert settings.listen.tls is not None
        assert settings.listen.tls.key == folder / "tls.key"
        assert settings.listen.behind_tls_proxy
        assert settings.admin.port == 1
        assert settings.log.level == "debug"
        assert settings.clusters[0].limits.call_seconds == 5

    def test_clusters_of_all_sources_are_served(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Clusters add up: those of the file, its directory, the environment and the flags."""
        (tmp_path / "clusters.d").mkdir()
        for name in ("b.yaml", "a.yml", ".hidden.yaml", "notes.txt"):
            written(tmp_path / "clusters.d", f"name: {name[0]}1\nserver: https://{name[0]}.example", name)
        monkeypatch.setenv("KUBE_MCP_GATEWAY_CLUSTERS", '[{"name": "variable", "server": "https://v.example"}]')
        settings = load_settings(
            with_clusters(tmp_path, "clustersDirectory: clusters.d"),
            {"clusters": [{"name": "flag", "server": "https://f.example", "certificateAuthority": None}]},
        )
        assert [cluster.name for cluster in settings.clusters] == ["east", "variable", "flag", "a1", "b1"]

    def test_paths_are_relative_to_their_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file means the same from wherever the gateway is started."""
        (folder / "clusters.d").mkdir()
        written(
            folder / "clusters.d", "name: west\nserver: https://west.example\ncertificateAuthority: ../ca.crt", "w.yaml"
        )
        file = written(
            folder,
            f"""
            listen: {{tls: {{certificate: tls.crt, key: {folder}/tls.key}}}}
            clustersDirectory: clusters.d
            clusters: [{{name: east, server: https://east.example, certificateAuthority: ca.crt}}]
            """,
        )
        monkeypatch.chdir("/")
        settings = load_settings(file, {})
        assert settings.clusters[0].certificate_authority == folder / "ca.crt"
        west = settings.clusters[1].certificate_authority
        assert west is not None
        assert west.samefile(folder / "ca.crt")
        assert settings.listen.tls is not None
        assert (settings.listen.tls.certificate, settings.listen.tls.key) == (folder / "tls.crt", folder / "tls.key")

    def test_a_key_without_a_value_is_not_set(self, tmp_path: Path) -> None:
        """A section of which all is commented out is as if it were not there."""
        file = written(
            tmp_path, "listen:\nlog:\n  level:\nclusters:\n  - name: a\n    server: https://a.example\n    policy:"
        )
        assert load_settings(file, {}).log.level == "info"

    def test_the_constructor_reads_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Settings made in code are just what they were made of."""
        monkeypatch.setenv("KUBE_MCP_GATEWAY_AUDIENCE", "variable")
        assert Settings().audience == "k-mcp"

    def test_settings_do_not_change(self) -> None:
        """Settings are a value."""
        with pytest.raises(ValidationError):
            Settings().audience = "other"  # type: ignore[misc]

    def test_settings_are_what_identity_is_configured_by(self) -> None:
        """Audience and leeways stand at the top level, as the identity room declares them."""
        assert isinstance(Settings(), IdentityOptions)

    def test_the_example_is_right(self) -> None:
        """The annotated example that is shipped loads, with its two clusters."""
        settings = load_settings(ROOT / "config" / "gateway.yaml", {})
        assert [cluster.shown for cluster in settings.clusters] == ["kind-east", "west [PROD]"]

    def test_the_example_s_comments_are_right(self, folder: Path, authority: Authority) -> None:
        """Everything the example shows in a comment is a setting, with the value that it would have."""
        shown = (ROOT / "config" / "gateway.yaml").read_text()
        certificate = authority.pem.decode().replace("\n", "\n    #   ")
        shown = shown.replace(
            "-----BEGIN CERTIFICATE-----\n    #   ...\n    #   -----END CERTIFICATE-----", certificate
        )
        (folder / "kind-east-ca.crt").write_bytes(authority.pem)
        (folder / "clusters.d").mkdir()
        (folder / "sealing-keys").write_text(b64encode(os.urandom(32)).decode())
        lines = shown.splitlines()
        example = [line.replace("# ", "", 1) if _is_a_setting(line) else line for line in lines]
        settings = load_settings(written(folder, "\n".join(example)), {})
        east, west = settings.clusters
        assert east.certificate_authority == folder / "kind-east-ca.crt"
        assert west.certificate_authority_data is not None
        assert west.limits == east.limits
        assert settings.listen.tls is not None
        assert settings.listen.allowed_origins == ("https://console.example",)
        assert settings.clusters_directory == folder / "clusters.d"
        assert settings.sealing_keys == folder / "sealing-keys"
        assert Settings.model_validate(
            {"nbfLeewaySeconds": settings.nbf_leeway_seconds, "expLeewaySeconds": settings.exp_leeway_seconds}
        ) == Settings(audience=settings.audience)


def _is_a_setting(line: str) -> bool:
    """Tell a comment that is a setting from one that is prose: a key, or what is nested in one."""
    text = line.strip()
    return (
        text.startswith("# ")
        and (text[2:4] == "  " or text[2:].split(" ")[0].endswith(":"))
        and "kubectl" not in line
        and "--output" not in line
    )


class TestMistakes:
    """What a wrong file, variable or flag is answered with."""

    def test_five_mistakes_are_named_at_once(self, tmp_path: Path) -> None:
        """All mistakes are named, each with its place, what was expected and what was found."""
        file = written(
            tmp_path,
            """
            audiense: agents
            listen: {port: eighty}
            log: {level: loud}
            clusters:
              - {name: east, server: "http://east.example"}
              - {name: East, server: "https://east.example", limits: {connectSeconds: 0}}
            """,
        )
        assert problems(file) == [
            "gateway.yaml: audiense: is no setting; did you mean audience?",
            "gateway.yaml: listen.port: expected a whole number; found 'eighty'",
            "gateway.yaml: log.level: expected 'debug', 'info', 'warning' or 'error'; found 'loud'",
            "gateway.yaml: clusters[0].server: the scheme must be https; found 'http://east.example'",
            f"gateway.yaml: clusters[1].name: {NAME}; found 'East'",
            "gateway.yaml: clusters[1].limits.connectSeconds: expected more than 0; found 0",
        ]
        with pytest.raises(SettingsError, match=r"^6 mistakes in the settings; nothing was started\."):
            load_settings(file, {})

    def test_each_mistake_names_its_source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A value of a flag or variable that hides the file's is looked for where it was written."""
        monkeypatch.setenv("KUBE_MCP_GATEWAY_LISTEN__ALLOWED_HOSTS", "a.example,b.example")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_LISTEN__PORT", "many")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_LISTEN__HSOT", "x")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_CLUSTERS", '[{"name": "x"')
        file = with_clusters(tmp_path, "listen: {port: few, drainSeconds: -1}\nadmin: {port: 70000}")
        assert problems(
            file, {"log": {"level": "loud"}, "clusters": [{"name": "f", "server": "http://f.example"}]}
        ) == [
            "environment: KUBE_MCP_GATEWAY_LISTEN__HSOT: is no setting; did you mean host?",
            "environment: KUBE_MCP_GATEWAY_CLUSTERS: expected a list of clusters as JSON, each with name and server",
            "environment: KUBE_MCP_GATEWAY_LISTEN__PORT: expected a whole number; found 'many'",
            f"environment: KUBE_MCP_GATEWAY_LISTEN__ALLOWED_HOSTS: {LIST}; found 'a.example,b.example'",
            "gateway.yaml: listen.drainSeconds: expected at least 0; found -1",
            "gateway.yaml: admin.port: expected at most 65535; found 70000",
            "command line: log.level: expected 'debug', 'info', 'warning' or 'error'; found 'loud'",
            "command line: clusters[0].server: the scheme must be https; found 'http://f.example'",
        ]

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [("LISTN__PORT", "LISTEN__PORT"), ("LISTEN_PORT", "LISTEN__PORT"), ("AUDIENCES", "AUDIENCE")],
    )
    def test_a_variable_that_is_nearly_a_setting(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
    ) -> None:
        """A mistyped variable is named instead of silently doing nothing."""
        monkeypatch.setenv(f"KUBE_MCP_GATEWAY_{variable}", "1")
        expected = f"environment: KUBE_MCP_GATEWAY_{variable} is no setting; did you mean KUBE_MCP_GATEWAY_{meant}?"
        assert only(with_clusters(tmp_path, "")) == expected

    def test_variables_that_kubernetes_sets_for_a_service(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Service of the gateway's name puts variables with its prefix into every pod; they are no mistakes."""
        for service in ("KUBE_MCP_GATEWAY", "KUBE_MCP_GATEWAY_ADMIN", "KUBE_MCP_GATEWAY_LISTEN"):
            monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.1")
            monkeypatch.setenv(f"{service}_SERVICE_PORT", "8080")
            monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.1:8080")
            monkeypatch.setenv(f"{service}_PORT_8080_TCP", "tcp://10.0.0.1:8080")
            monkeypatch.setenv(f"{service}_PORT_8080_TCP_ADDR", "10.0.0.1")
            monkeypatch.setenv(f"{service}_PORT_8080_TCP_PORT", "8080")
            monkeypatch.setenv(f"{service}_PORT_8080_TCP_PROTO", "tcp")
        monkeypatch.setenv("KUBE_MCP_GATEWAY_CONFIG", "elsewhere.yaml")
        assert load_settings(with_clusters(tmp_path, ""), {}).listen.port == 8080

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("listen: 8080", "listen: expected a section with keys and values; found 8080"),
            ("listen: {allowedHosts: a.example}", "listen.allowedHosts: expected a list; found 'a.example'"),
            ("listen: {allowed_hosts: []}", "listen.allowed_hosts: is no setting; did you mean allowedHosts?"),
            ("listen: {behindTlsProxy: maybe}", "listen.behindTlsProxy: expected true or false; found 'maybe'"),
            (
                "listen: {trustedProxies: [10.0.0.1/8]}",
                "listen.trustedProxies[0]: expected a network, such as 10.0.0.0/8; found '10.0.0.1/8'",
            ),
            ("listen: {host: [a]}", "listen.host: expected text; found a list"),
            ("audience: 5", "audience: expected text; put it in quotes; found 5"),
            ("audience: a b", "audience: expected one word without spaces, such as k-mcp; found 'a b'"),
            ("audience: ''", "audience: expected at least 1 characters; found ''"),
            ("nbfLeewaySeconds: 1h", "nbfLeewaySeconds: expected a number; found '1h'"),
            (
                "1: 2",
                f"1: is no setting; here can be {', '.join(KEYS)}",
            ),
        ],
    )
    def test_wrong_values(self, tmp_path: Path, text: str, problem: str) -> None:
        """Each kind of wrong value is told in words, with its path."""
        assert only(with_clusters(tmp_path, text)) == f"gateway.yaml: {problem}"

    @pytest.mark.parametrize(
        ("cluster", "problem"),
        [
            ("{name: a}", "clusters[0].server: is required"),
            ("{server: https://a.example}", "clusters[0].name: is required"),
            ("west", "clusters[0]: expected a section with name and server"),
            (
                "{name: a, server: https://a.example, insecure: true, certificateAuthority: ca.crt}",
                "clusters[0]: give only one of certificateAuthority, certificateAuthorityData and insecure",
            ),
            (
                "{name: a, server: https://a.example, policy: {writes: [aply]}}",
                "clusters[0].policy.writes[0]: expected 'apply', 'post' or 'delete'; found 'aply'",
            ),
            (
                "{name: a, server: https://a.example, polcy: {}}",
                "clusters[0].polcy: is no setting; did you mean policy?",
            ),
            (
                "{name: a, server: https://a.example, policy: {namespaces: {alow: []}}}",
                "clusters[0].policy.namespaces.alow: is no setting; did you mean allow?",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthority: nope.crt}",
                "clusters[0].certificateAuthority: nope.crt can't be read: No such file or directory",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthority: .}",
                "clusters[0].certificateAuthority: {folder} can't be read: Is a directory",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthority: tls.key}",
                "clusters[0].certificateAuthority: tls.key holds no PEM certificate that can be used",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthority: empty.crt}",
                "clusters[0].certificateAuthority: empty.crt holds no PEM certificate (-----BEGIN CERTIFICATE-----)",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthority: noted.crt}",
                f"clusters[0].certificateAuthority: noted.crt {NO_ASCII}",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthorityData: ''}",
                "clusters[0].certificateAuthorityData: holds no PEM certificate (-----BEGIN CERTIFICATE-----)",
            ),
            (
                "{name: a, server: https://a.example, certificateAuthorityData: LS0tLS1CRUdJTiBDRVJU}",
                f"clusters[0].certificateAuthorityData: {NO_PEM}; {BASE64}",
            ),
        ],
    )
    def test_wrong_clusters(self, folder: Path, authority: Authority, cluster: str, problem: str) -> None:
        """Each kind of mistake in a cluster is told in words, with its path."""
        (folder / "empty.crt").touch()
        (folder / "noted.crt").write_text(f"# Müller CA\n{authority.pem.decode()}")
        problem = problem.replace("{folder}", str(folder))
        assert only(written(folder, f"clusters: [{cluster}]")) == f"gateway.yaml: {problem}"

    def test_clusters_that_are_the_same(self, tmp_path: Path) -> None:
        """Equal names, and URLs that are equal in their canonical spelling, are told with both places."""
        (tmp_path / "clusters.d").mkdir()
        written(tmp_path / "clusters.d", "name: west\nserver: https://EAST.example:443/", "w.yaml")
        file = written(
            tmp_path,
            """
            clustersDirectory: clusters.d
            clusters:
              - {name: east, server: https://east.example}
              - {name: east, server: https://north.example, policy: {confirmation: never}}
            """,
        )
        assert problems(file) == [
            "gateway.yaml: clusters[1].policy.confirmation: expected 'person', 'plan' or 'none'; found 'never'",
            "gateway.yaml: clusters[1].name: 'east' is already the name of gateway.yaml: clusters[0]",
            f"clusters.d/w.yaml: server: https://east.example is already listed by gateway.yaml: clusters[0]; {APART}",
        ]

    def test_no_cluster_shows_how_to_list_one(self, tmp_path: Path) -> None:
        """Without a cluster nothing could be served, and the text shows both ways to list one."""
        for file in (None, written(tmp_path, ""), written(tmp_path, "clusters:")):
            problem = only(file)
            assert "no cluster is listed" in problem
            assert "server: https://" in problem
            assert "--cluster https://" in problem

    def test_no_cluster_beside_another_mistake(self, tmp_path: Path) -> None:
        """That no cluster is listed is told beside other mistakes, unless they may be why none was found."""
        assert len(problems(written(tmp_path, "listen: {port: x}"))) == 2
        assert only(written(tmp_path, "cluster: []")) == "gateway.yaml: cluster: is no setting; did you mean clusters?"

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gateway.example"])
    def test_beyond_loopback_needs_tls(self, folder: Path, host: str) -> None:
        """Tokens never cross a network in the clear unless a proxy is said to terminate TLS."""
        problem = only(with_clusters(folder, f"listen: {{host: '{host}'}}"))
        assert problem.startswith("gateway.yaml: listen.host: beyond this machine, tokens need TLS")
        assert problem.endswith(f"found {host}")
        for word in ("behindTlsProxy: true", "tls: {certificate: tls.crt, key: tls.key}"):
            assert load_settings(with_clusters(folder, f"listen: {{host: '{host}', {word}}}"), {}).listen.host == host

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    def test_loopback_needs_none(self, tmp_path: Path, host: str) -> None:
        """On loopback no TLS is asked for."""
        assert load_settings(with_clusters(tmp_path, ""), {"listen": {"host": host}}).listen.host == host

    def test_one_port_for_both_listeners(self, tmp_path: Path) -> None:
        """The admin listener can't share the agents' port; free ports (0) are never the same."""
        problem = only(with_clusters(tmp_path, "listen: {port: 9464}"), {})
        assert problem == "listen.port and admin.port: expected two ports; both are 9464"
        load_settings(with_clusters(tmp_path, "listen: {port: 0}\nadmin: {port: 0}"), {})

    def test_a_wrong_value_is_not_judged_twice(self, tmp_path: Path) -> None:
        """What hangs on a value that is wrong in itself is not guessed at."""
        file = with_clusters(tmp_path, "listen: {host: 0.0.0.0, port: x, behindTlsProxy: perhaps}\nadmin: {port: 8080}")
        assert [problem.split(":")[1].strip() for problem in problems(file)] == ["listen.port", "listen.behindTlsProxy"]

    def test_what_can_be_checked_is_checked_beside_wrong_values(self, folder: Path) -> None:
        """A value that is wrong in itself hides no mistake among the others."""
        file = with_clusters(
            folder, "listen: {port: x, host: 0.0.0.0}\naudience: 5\nadmin: {port: y}\nclustersDirectory: nowhere"
        )
        places = [problem.split(":")[1].strip() for problem in problems(file)]
        assert places == ["clustersDirectory", "audience", "listen.port", "admin.port", "listen.host"]

    def test_tls_files(self, folder: Path) -> None:
        """A certificate or key that is missing, does not fit or has a password is told; nobody is asked for one."""
        other = new_authority("other").serving("other", ["127.0.0.1"])
        (folder / "other.key").write_bytes(other.key)
        key = load_pem_private_key((folder / "tls.key").read_bytes(), None)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
        (folder / "secret.key").write_bytes(secret)

        def told(certificate: str, key: str) -> list[str]:
            return problems(with_clusters(folder, f"listen: {{tls: {{certificate: {certificate}, key: {key}}}}}"))

        assert told("no.crt", "no.key") == [
            "gateway.yaml: listen.tls.certificate: no.crt can't be read: No such file or directory",
            "gateway.yaml: listen.tls.key: no.key can't be read: No such file or directory",
        ]
        expected = "gateway.yaml: listen.tls: expected a PEM certificate chain and its unencrypted private key"
        for certificate, private in (("tls.crt", "other.key"), ("tls.crt", "secret.key"), ("tls.key", "tls.crt")):
            (problem,) = told(certificate, private)
            assert problem.startswith(expected)
        half = with_clusters(folder, "listen: {tls: {certificate: no.crt}}")
        assert problems(half) == [
            "gateway.yaml: listen.tls.key: is required",
            "gateway.yaml: listen.tls.certificate: no.crt can't be read: No such file or directory",
        ]

    def test_sealing_keys_are_read_before_the_start(self, folder: Path) -> None:
        """A file that is missing, or of which one line can't be used, is a mistake like every other."""
        settings = with_clusters(folder, "sealingKeys: keys")
        assert problems(settings) == ["gateway.yaml: sealingKeys: keys can't be read: No such file or directory"]
        (folder / "keys").write_text("hunter2\n")
        expected = "line 1: expected base64, as of: openssl rand -base64 32"
        assert problems(settings) == [f"gateway.yaml: sealingKeys: keys {expected}"]

    @pytest.mark.parametrize(
        "secret",
        [
            "clusters: [{name: a, server: 'https://admin:hunter2@a.example'}]",
            "clusters: [{name: a, server: https://a.example, certificateAuthorityData: [hunter2]}]",
            "listen: {tls: {certificate: {a: b}, key: [hunter2]}}",
            "log: {level: eyJhbGciOiJSUzI1NiJ9.eyJodW50ZXIyIjoiaHVudGVyMiJ9.hunter2}",
            'audience: "-----BEGIN PRIVATE KEY-----\\nhunter2"',
        ],
    )
    def test_secrets_are_not_repeated(self, tmp_path: Path, secret: str) -> None:
        """What was found is not shown where it may be a password, key or token."""
        assert "hunter2" not in "\n".join(problems(written(tmp_path, secret)))

    def test_settings_error_is_for_people(self, tmp_path: Path) -> None:
        """The error's text is what the command shows: a head line, and a line for each mistake."""
        with pytest.raises(SettingsError) as raised:
            load_settings(with_clusters(tmp_path, "listen: {port: x}"), {})
        assert raised.value.message.splitlines()[0] == "1 mistake in the settings; nothing was started."
        assert len(raised.value.message.splitlines()) == 2


class TestFiles:
    """What is wrong with a file before its words are looked at."""

    def test_no_such_file(self, tmp_path: Path) -> None:
        """A missing file is told, and nothing else is guessed from its absence."""
        assert only(tmp_path / "gateway.yaml") == "gateway.yaml can't be read: No such file or directory"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("listen:\n\tport: 1", "line 2, column 1: not YAML: found character that cannot start any token"),
            ("clusters: [\n", "line 2, column 1: not YAML: did not find expected node content"),
            ("a: 1\n---\nb: 2", "line 2, column 1: not YAML: but found another document"),
            ("audience: *nobody", "line 1, column 11: not YAML: found undefined alias"),
            (
                "audience: !!python/name:os.x",
                f"line 1, column 11: not YAML: {NO_TAG} 'tag:yaml.org,2002:python/name:os.x'",
            ),
            ("? [a]\n: b", "line 1, column 3: not YAML: found unhashable key"),
            ("- a", "expected keys and values, such as `audience: k-mcp`; found a list"),
            ("just words", "expected keys and values, such as `audience: k-mcp`; found a single value"),
        ],
    )
    def test_not_settings(self, tmp_path: Path, text: str, problem: str) -> None:
        """What is no YAML, or no mapping, is told with line and column."""
        assert only(written(tmp_path, text)) == f"gateway.yaml: {problem}"

    def test_keys_written_twice(self, tmp_path: Path) -> None:
        """A key that is written twice is told with both lines, at each depth, instead of one silently winning."""
        file = with_clusters(tmp_path, "audience: a\nlisten: {port: 1,\n  port: 2}\naudience: b")
        assert sorted(problems(file)) == [
            "gateway.yaml: line 3: 'port' was already written in line 2",
            "gateway.yaml: line 4: 'audience' was already written in line 1",
        ]

    def test_merged_and_shared_parts_are_not_written_twice(self, tmp_path: Path) -> None:
        """YAML's own ways not to repeat oneself are no mistakes."""
        file = written(
            tmp_path,
            """
            clusters:
              - {name: a, server: https://a.example, limits: &few {connections: 2}}
              - {name: b, server: https://b.example, limits: {<<: *few, queue: 1}}
            """,
        )
        assert [cluster.limits.connections for cluster in load_settings(file, {}).clusters] == [2, 2]

    def test_a_file_that_is_too_large(self, tmp_path: Path) -> None:
        """A file over 1 MiB is not read to its end."""
        (tmp_path / "gateway.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
        assert only(tmp_path / "gateway.yaml").startswith("gateway.yaml is larger than 1 MiB")
        (tmp_path / "gateway.yaml").write_bytes(b"#" * (1024 * 1024))
        assert "no cluster is listed" in only(tmp_path / "gateway.yaml")

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        """A binary file is told to be none."""
        (tmp_path / "gateway.yaml").write_bytes(b"audience: \xff")
        assert only(tmp_path / "gateway.yaml") == "gateway.yaml is not UTF-8 text (byte 10)"
        (tmp_path / "gateway.yaml").write_bytes(b"audience: \x00")
        assert only(tmp_path / "gateway.yaml").startswith("gateway.yaml: not YAML: ")

    def test_a_file_that_refers_to_itself(self, tmp_path: Path) -> None:
        """A file without an end is a mistake like any other."""
        file = written(tmp_path, "clusters: &all [*all, {name: a, server: https://a.example, policy: &p {kinds: *p}}]")
        assert problems(file)

    def test_files_of_the_directory(self, tmp_path: Path) -> None:
        """A mistake in a file of `clustersDirectory` is told with that file."""
        directory = tmp_path / "clusters.d"
        directory.mkdir()
        written(directory, "name: a\nsrever: https://a.example", "a.yaml")
        written(directory, "name: [\n", "b.yaml")
        written(directory, "- name: c", "c.yaml")
        written(directory, "", "d.yaml")
        file = with_clusters(tmp_path, "clustersDirectory: clusters.d")
        assert problems(file) == [
            "clusters.d/a.yaml: srever: is no setting; did you mean server?",
            "clusters.d/b.yaml: line 2, column 1: not YAML: did not find expected node content",
            "clusters.d/c.yaml: expected keys and values, such as `audience: k-mcp`; found a list",
            "clusters.d/a.yaml: server: is required",
            "clusters.d/d.yaml: name: is required",
            "clusters.d/d.yaml: server: is required",
        ]

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        """A directory that can't be read is told."""
        file = with_clusters(tmp_path, "clustersDirectory: clusters.d")
        assert only(file) == "gateway.yaml: clustersDirectory: clusters.d can't be read: No such file or directory"
