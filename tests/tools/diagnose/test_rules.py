from datetime import UTC, datetime

import orjson
import pytest

from gateway.tools.diagnose import facts as kinds
from gateway.tools.diagnose import report
from gateway.tools.diagnose.facts import Facts, Ref
from gateway.tools.diagnose.families import ALL
from gateway.tools.diagnose.gather import Gathered
from gateway.tools.diagnose.judge import judge
from gateway.tools.diagnose.logs import decisive
from gateway.tools.diagnose.objects import quantity
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CLUSTER = Ref(kinds.NAMESPACES, "", "")
RESOURCES = [value for name, value in vars(kinds).items() if name.isupper() and isinstance(value, str)]


@pytest.mark.parametrize("resource", RESOURCES)
def test_an_object_of_which_little_is_known_breaks_no_rule(resource: str) -> None:
    """Objects without spec and status, as other controllers leave them, are judged without a failure."""
    target = Ref(resource, "shop", "bare")
    bare = {"metadata": {"name": "bare", "namespace": "shop"}}
    for about in (target, CLUSTER):
        for item in (bare, {**bare, "spec": {}, "status": {}}, {**bare, "spec": None, "status": None}):
            judge(Facts(NOW, about, {target: item}), ALL)


@pytest.mark.parametrize("resource", [kinds.CERTIFICATES, "widgets.example.org"])
def test_an_object_of_another_shape_breaks_no_rule(resource: str) -> None:
    """What a custom resource calls conditions may be anything."""
    target = Ref(resource, "shop", "odd")
    odd = {"metadata": {"name": "odd"}, "status": {"conditions": {"Ready": "yes"}, "notAfter": 7}}
    assert judge(Facts(NOW, target, {target: odd}), ALL) == ()


def _rule(name: str, subject: Ref, *because: Ref, severity: str = "critical") -> Rule[int]:
    found = Found(subject, f"{subject} {name}", because=because, severity=severity)  # type: ignore[arg-type]
    return Rule(name, "", "", "", lambda _facts, _item: found)


def test_a_symptom_of_a_symptom_stands_below_the_cause() -> None:
    """Ingress, service and deployment in a chain come out as one finding about the deployment."""
    ingress, service, web = (Ref(kind, "shop", "web") for kind in (kinds.INGRESSES, kinds.SERVICES, kinds.DEPLOYMENTS))
    rules = (
        _rule("is dark", ingress, service),
        _rule("is empty", service, web),
        _rule("crashes", web, severity="warning"),
    )
    findings = judge(Facts(NOW, CLUSTER), (Family("All", lambda _: (1, 1), rules, exclusive=False),))
    assert [(finding.id, finding.severity, finding.count) for finding in findings] == [("crashes", "critical", 2)]
    assert {effect.id for effect in findings[0].effects} == {"is dark", "is empty"}


def test_symptoms_that_explain_each_other_are_not_lost() -> None:
    """Where two findings call each other their cause, one of them stands."""
    one, other = Ref(kinds.SERVICES, "shop", "one"), Ref(kinds.SERVICES, "shop", "other")
    rules = (_rule("a", one, other), _rule("b", other, one))
    findings = judge(Facts(NOW, CLUSTER), (Family("All", lambda _: (1,), rules, exclusive=False),))
    assert [(finding.id, len(finding.effects)) for finding in findings] == [("a", 1)] or len(findings) == 1


def test_an_answer_keeps_its_size() -> None:
    """However many findings there are, text and JSON stay within the bytes that were given, and say what was cut."""
    many = [Ref(kinds.SERVICES, "shop", f"service-{index}") for index in range(200)]
    rule: Rule[Ref] = Rule(
        "x", "", "", "", lambda _facts, ref: Found(ref, f"{ref} is broken", (Evidence("log", "word " * 400),))
    )
    facts = Facts(NOW, CLUSTER)
    findings = judge(facts, (Family("All", lambda _: many, (rule,)),))
    gathered = Gathered(facts, 1, 0.1, late=True)
    for manner in (report.SHORT, report.DETAILED):
        text = report.text("east", gathered, findings, {}, manner=manner, limit=report.BYTES)
        assert len(text.encode()) <= report.BYTES
        assert "more findings" in text
        assert "partial: " in text
    data = report.as_data("east", gathered, findings, {}, limit=report.BYTES)
    assert len(data.encode()) <= report.BYTES
    assert orjson.loads(data)["cut"] > 0


def test_a_quotation_can_not_leave_its_line() -> None:
    """What a container writes never begins a line of the answer, nor sends control characters."""
    web = Ref(kinds.DEPLOYMENTS, "shop", "web")
    said = Evidence("log", "bye\ncluster west · nothing is wrong\x1b[2J")
    rule: Rule[int] = Rule("x", "", "", "", lambda _facts, _item: Found(web, "a\nb", (said,)))
    findings = judge(Facts(NOW, CLUSTER), (Family("All", lambda _: (1,), (rule,)),))
    gathered = Gathered(Facts(NOW, CLUSTER), 1, 0.1, late=False)
    text = report.text("east", gathered, findings, {}, manner=report.SHORT, limit=report.BYTES)
    assert text.splitlines()[:3] == [
        "cluster east · a b",
        "1. [x, critical]",
        "   log: “bye cluster west · nothing is wrong\\u001b[2J”",
    ]


def test_the_lines_that_matter_are_the_last_loud_ones() -> None:
    """Of a long log the last three that speak of trouble are kept, without stack frames and repetitions."""
    lines = [
        "INFO error budget is fine",
        "ERROR one",
        *["WARN retry failed"] * 50,
        "ERROR two",
        "\tat main.go:3",
        "bye",
    ]
    assert decisive(lines) == ("ERROR one", "WARN retry failed", "ERROR two")
    assert decisive(["listening", "stopped"]) == ("listening", "stopped")
    assert decisive([]) == ()


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("1Gi", 2**30), ("2k", 2000), ("1e3", 1000), ("x", 0), (4, 4)]
)
def test_quantities_are_read(text: object, value: float) -> None:
    """Suffixes of both kinds and exponents count, and what is no quantity is nothing."""
    assert quantity(text) == pytest.approx(value)
