"""Boundary between the rules and their documentation: docs/diagnosis.md, made from the tables of rules.

`python -m gateway.tools.diagnose.handbook > docs/diagnosis.md` writes it anew.
"""

import sys
from collections.abc import Iterator
from itertools import groupby

from gateway.tools.diagnose.families import ALL
from gateway.tools.diagnose.gather import FOR_AN_OBJECT, FOR_MANY, SECONDS
from gateway.tools.diagnose.report import BYTES

_HEAD = f"""\
# What `diagnose` knows

One call says what is wrong with an object, a namespace or the whole cluster, the cause first. It reads what belongs to
the target (at most {FOR_AN_OBJECT} API requests for an object and {FOR_MANY} for more, within {SECONDS:g} seconds) and
asks each rule below what it makes of that. An answer has at most {BYTES // 1024} KB unless `detail` is asked for.

- **Causes outrank symptoms**: a service without ready pods is told as the effect of what is wrong with its pods.
- **Severity**: `critical` does not work; `warning` will not, or not well; `notice` is unusual, perhaps on purpose, and
  is never an alarm.
- **Nothing is guessed around**: what could not be read (RBAC, the gateway's policy, time) is said at the end. Secrets
  are never read: that one is missing is known only from what Kubernetes itself says in events and statuses.
- What it costs, and how it compares with asking by hand: [diagnosis-figures.md](diagnosis-figures.md).

This file is made from the rules: `python -m gateway.tools.diagnose.handbook > docs/diagnosis.md`.
"""


def handbook() -> str:
    """Return the documentation of every rule as Markdown."""
    return "\n".join((_HEAD, *_families()))


def _families() -> Iterator[str]:
    for title, families in groupby(ALL, key=lambda family: family.title):
        yield f"## {title}\n"
        for family in families:
            for rule in family.rules:
                yield f"### `{rule.id}` ({rule.severity})\n"
                yield f"{rule.means} **Known by**: {rule.known} **What to do**: {rule.do}\n"


if __name__ == "__main__":
    sys.stdout.write(handbook())
