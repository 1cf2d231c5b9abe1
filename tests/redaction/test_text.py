import pytest

from gateway.redaction.masks import MASKED, count, numbered
from gateway.redaction.text import redacted, spoken
from tests.redaction.credentials import CREDENTIALS, leaked, pem


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("around", ["{}", "connecting with {} now\n", "x: 1\nsays {}\n\ty", 'msg="{}"', "({})"])
def test_what_looks_like_a_credential_is_masked(kind: str, around: str) -> None:
    """Wherever it stands in a text, nothing of it stays, and what stands around it does."""
    text = around.format(CREDENTIALS[kind])
    for masked in (redacted(text), spoken(text)):
        assert not leaked(masked)
        assert MASKED.search(masked)
        assert masked.startswith(around[:3].replace("{", "").rstrip("}"))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted: secret]"),
        ("export API_KEY=abc def", "export API_KEY=[redacted: secret]"),
        ('db.password: "a \\" b" # x', 'db.password: "[redacted: secret]" # x'),
        ("time=1 token=abc status=200", "time=1 token=[redacted: secret] status=200"),
        ("GET /x?token=abc&page=2", "GET /x?token=[redacted: secret]&page=2"),
        ('{"apiKey": "abc", "b": 1}', '{"apiKey": "[redacted: secret]", "b": 1}'),
        ("Server=x;Password=y;Encrypt=true", "Server=x;Password=[redacted: secret];Encrypt=true"),
        ("run --password hunter2 --port 1", "run --password [redacted: secret] --port 1"),
        ("run --password=hunter2", "run --password=[redacted: secret]"),
        ("- name: DB_PASSWORD\n  value: hunter2\n", "- name: DB_PASSWORD\n  value: [redacted: secret]\n"),
        ('{"name":"X-Api-Key","value":"abc"}', '{"name":"X-Api-Key","value":"[redacted: secret]"}'),
        ("password: |\n  two\n  lines\nuser: a", "password: |\n  [redacted: secret]\nuser: a"),
        ("aws_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_key = [redacted: aws-key]"),
        ("ibm key: " + "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji1Hg0FeDcBa98765_-X", "ibm key: [redacted: ibm-key]"),
        ("bot key: NzA1MjM0.GhIjKl.x", "bot key: NzA1MjM0.GhIjKl.x"),
    ],
)
def test_what_is_called_a_credential_is_masked(text: str, masked: str) -> None:
    """By the name of a variable, a key, a flag or a header; only the value goes."""
    assert redacted(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        'MountVolume.SetUp failed for volume "tls" : secret "shop-tls" not found',
        "couldn't find key password in Secret shop/db",
        "invalid token: expired",
        "error: token: permission denied by policy",
        "secretName: shop-tls",
        "serviceAccountToken: {path: token, expirationSeconds: 3607}",
        "--service-account-private-key-file=/etc/kubernetes/pki/sa.key",
        "POSTGRES_PASSWORD_FILE=/run/secrets/password",
        "automountServiceAccountToken: false",
        "max_tokens: 4096, prompt_tokens=17",
        "tokenTTL: 24h",
        "PWD=/app",
        "password: $(DB_PASSWORD)",
        "password: ${DB_PASSWORD}",
        "password: {{ .Values.password }}",
        "password: <none>",
        'password: ""',
        "imagePullSecrets: regcred",
        "postgres://shop:$(DB_PASSWORD)@db/shop",
        "https://registry.example:5000/shop@sha256:" + "ab" * 32,
        "sha512-" + "A" * 86 + "==",
        "pod-template-hash=5f4d7c9b8 uid=3f6c1d2e-8a7b-4c5d-9e0f-1a2b3c4d5e6f resourceVersion=184467",
        "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=",
        "task-runner-0123456789abcdefghij disk-abcdefghijklmnopqrstuvwx",
        "[redacted: github-token]: denied",
        "password=[redacted: secret]",
        "token [redacted: jwt] is used",
    ],
)
def test_what_only_speaks_of_credentials_stays(text: str) -> None:
    """Names of Secrets, paths, times to live, digests and words about credentials are what agents work with."""
    assert redacted(text) == text
    assert spoken(text) == text


def test_a_private_key_goes_whole_or_cut() -> None:
    """Whether its beginning or its end is in the text, or both, and with what a logger puts before each line."""
    key = pem("RSA ")
    lines = key.splitlines()
    assert redacted(f"a\n{key}b") == "a\n[redacted: private-key]\nb"
    assert redacted("\n".join([*lines[:3], "done"])) == "[redacted: private-key]\ndone"
    assert redacted("\n".join([*lines[3:], "done"])) == "[redacted: private-key]\ndone"
    assert not leaked(redacted("\n".join(f"2026-01-01T00:00:00Z {line}" for line in lines)))
    assert redacted("-----BEGIN PRIVATE KEY----- is expected") == "-----BEGIN PRIVATE KEY----- is expected"


def test_what_was_masked_is_not_masked_again() -> None:
    """A second look changes nothing, and counts the same."""
    for text in CREDENTIALS.values():
        once = redacted(text)
        assert redacted(once) == once
        assert count(once) >= 1


def test_numbers_tell_credentials_apart_and_no_more() -> None:
    """Equal ones have equal numbers, in the order in which they come."""
    masked = redacted("a_password=one\nb_password=two\nc_password=one\n", mask=numbered())
    assert [line.rpartition("#")[2] for line in masked.splitlines()] == ["1]", "2]", "1]"]


def test_a_password_with_a_backslash_goes_whole() -> None:
    """In what a program says; in JSON a backslash belongs to the JSON."""
    assert spoken("login password=ab\\cd ok") == "login password=[redacted: secret] ok"
    assert redacted('{"a":"password=ab\\"","b":1}') == '{"a":"password=[redacted: secret]\\"","b":1}'


def test_a_long_log_is_looked_through_to_its_end() -> None:
    """In pieces that end with a line, also where a line is longer than a piece."""
    text = "x" * 200_000 + "\n" + "line\n" * 50_000 + "token=abc\n"
    assert spoken(text) == text.replace("abc", "[redacted: secret]")
