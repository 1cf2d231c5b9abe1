"""Credentials of every kind that is known to be masked: none of them opens anything, all have the real form."""

import base64
import json
from typing import Final

_PEM: Final = "MIIEowIBAAKCAQEAx7Vb2kQ9mZ0rT5yLwUeHsNfJgAoPdCqXiSvBnM4uRtYhGjKl"


def pem(kind: str) -> str:
    """Return a private key of a kind, as a file has it."""
    body = "\n".join(_PEM[start:] + _PEM[:start] for start in range(0, 60, 10))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----\n"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_JWT: Final = ".".join(
    (
        _encoded('{"alg":"RS256","kid":"1"}').rstrip("="),
        _encoded('{"sub":"alice","exp":1900000000}').rstrip("="),
        "dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )
)
SERVICE_ACCOUNT: Final = {
    "type": "service_account",
    "project_id": "shop",
    "private_key_id": "5f2c1e8d9b7a60413c2d5e6f708192a3b4c5d6e7",
    "private_key": pem(""),
    "client_email": "shop@shop.iam.gserviceaccount.com",
}

CREDENTIALS: Final = {
    "aws access key": "AKIA2OGYBAH63R4VEXQT",
    "github token": "ghp_Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zA7bC",
    "github fine-grained token": "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789aBcDeFgHiJkL",
    "gitlab token": "glpat-x7Yz2Kq9Lm4Np6Rs8TuV",
    "slack token": "xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
    "slack webhook": "https://hooks.slack.com/services/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",
    "stripe key": "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc",
    "twilio key": "SK" + "5f2c1e8d9b7a60413c2d5e6f708192a3",
    "sendgrid key": "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",
    "npm token": "npm_Zq8Xw5Tv2Rs9Pn6Lk3Jh0Gf7Db4Ca1Ye5Ui2O",
    "pypi token": "pypi-AgEIcHlwaS5vcmcCJDhiYjQ1YzM0LWVkNDctNGM0Yi04ZjE3LWM1",
    "google key": "AIzaSyD3v1ZkQ8wX5nR2tL7mP0cJ6hF9gB4aE1u",
    "openai key": "sk-proj-9aB8cD7eF6gH5iJ4kL3mN2oP1qR0sT",
    "anthropic key": "sk-ant-api03-Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji1Hg0Fe",
    "vault token": "hvs.CAESIJ1k2l3m4n5o6p7q8r9s0tUvWxYz",
    "square secret": "sq0csp-Qw9Er8Ty7Ui6Op5As4Df3Gh2Jk1Lz0Xc9Vb8Nm7Qw65",
    "artifactory token": "AKCp8kQ2wE4rT6yU8iO0pA1sD3fG5hJ7kL9zX",
    "rsa private key": pem("RSA "),
    "ec private key": pem("EC "),
    "openssh private key": pem("OPENSSH "),
    "json web token": _JWT,
    "bearer token": "Authorization: Bearer 7f3a9c1e5b8d2046af91",
    "basic login": f"Authorization: Basic {_encoded('shop:Tr0ub4dor&3')}",
    "postgres url": "postgres://shop:Tr0ub4dor@orders-db:5432/shop",
    "redis url": "redis://:Tr0ub4dor3x@cache:6379/0",
    "mongodb url": "mongodb+srv://shop:p%40ss!w0rd@cluster0.example.net/orders",
    "docker login": json.dumps({"auths": {"registry.example": {"auth": _encoded("shop:Tr0ub4dor3x")}}}),
    "service account": json.dumps(SERVICE_ACCOUNT),
    "kubeconfig": "users:\n- name: admin\n  user:\n    token: k9f2m4x7q1z8w5\n",
    "azure key": f"DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={(_PEM + _PEM)[:86]}==;Suffix=core",
    "encoded private key": _encoded(pem("RSA ")),
    "variables": "DB_USER=shop\nDB_PASSWORD=Tr0ub4dor3x\n",
    "flag": "server --port 8080 --admin-password Tr0ub4dor3x --verbose",
}
"""By a name for it."""

PARTS: Final = (
    *(CREDENTIALS[name] for name in list(CREDENTIALS)[:17]),
    _PEM[:24],
    _PEM[30:],
    _JWT.split(".")[1],
    _JWT.split(".")[2],
    "7f3a9c1e5b8d2046af91",
    _encoded("shop:Tr0ub4dor&3"),
    _encoded("shop:Tr0ub4dor3x"),
    "Tr0ub4dor",
    "p%40ss!w0rd",
    "k9f2m4x7q1z8w5",
    _encoded(pem("RSA "))[40:80],
    _encoded(pem("RSA "))[-40:],
)
"""What must not be read of any of them."""


def leaked(text: str) -> list[str]:
    """Return what a text shows of any of them."""
    return [part for part in PARTS if part in text]
