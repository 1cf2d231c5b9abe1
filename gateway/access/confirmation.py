"""Boundary between a tool that is about to act and the word it needs for that (promise 8): a person's, a plan, or none.

A tool first finds out what it would do, without doing it, and proposes that. What it gets back is either leave to do
just this, once, or the words that say why nothing is done. Under `person` the question itself carries a plan: an answer
is worth nothing for anything else, nor a second time, in either protocol generation.
"""

from dataclasses import dataclass
from typing import Final

from gateway.access.plans import LIFETIME, Binding, MadeElsewhere, Outdated, Plans
from gateway.access.questions import AnswerNeeded, Question
from gateway.access.session import ClusterSession
from gateway.errors import BadArgument, GatewayError

_KEY: Final = "confirm "
YES: Final = "yes"
NO: Final = "no"


class WouldFail(GatewayError):
    """What was proposed was refused, by the API server or the policy, when it was tried; nothing was done."""

    outcome = "invalid"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a tool would do.

    `asked` is all that was asked for, `met` what it would meet on the cluster (uids, contents): a word for one does not
    hold when either has changed. `message` shows the person what will happen; the cluster is put before it. `done` is
    the word for what happens, as in "Nothing was written". An `always` proposal needs a word even under `none`.
    """

    tool: str
    asked: str
    met: str
    message: str
    done: str = "done"
    always: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to act, and where not, why not and what to do next. `shown`: the caller has seen the proposal before."""

    go: bool
    text: str = ""
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Asks for the word that the cluster's policy wants."""

    plans: Plans

    async def ask(self, session: ClusterSession, proposal: Proposal, plan: str | None) -> Verdict:
        """Return whether the tool may act now. It must act at once, or ask again.

        Raises:
            AnswerNeeded: The person has to be asked; let it pass.
            BadArgument: The plan is not good for this; nothing was done.
            GatewayError: It can't be noted that a plan is used.
        """
        binding = Binding(session.principal, proposal.tool, proposal.asked, proposal.met)
        match session.cluster.policy.confirmation:
            case "person":
                return await self._by_person(session, proposal, binding)
            case "none" if not proposal.always:
                session.confirmation = "none"
                return Verdict(go=True)
            case _:
                return await self._by_plan(session, proposal, binding, plan)

    async def _by_person(self, session: ClusterSession, proposal: Proposal, binding: Binding) -> Verdict:
        answers = session.answers
        nothing = f"Nothing was {proposal.done}"
        again = ""
        for key in [key for key in answers.given if key.startswith(_KEY)]:
            if answers.given[key] != YES:
                session.declined()
                return Verdict(
                    go=False,
                    text=f"{nothing}: the person said no or did not answer, or the client declined by itself. "
                    "Do not try again unless the person asks for it.",
                )
            try:
                nonce = self.plans.check(key.removeprefix(_KEY), binding)
            except MadeElsewhere:
                raise  # asking again may come to another replica again, for ever
            except BadArgument:
                # The word was for what things were then.
                again = "It has changed since you were asked. "
                continue
            await self.plans.use(nonce)
            session.confirmation = "person"
            return Verdict(go=True)
        if not answers.can_ask:
            return Verdict(
                go=False,
                text=f"{nothing}: a person must confirm it, and this client can't ask one (no MCP elicitation). Use a "
                "client that can, or have the gateway's operator set `confirmation: plan` for this cluster.",
            )
        message = f"Cluster {session.cluster.shown}: {again}{proposal.message}"
        raise AnswerNeeded(Question(_KEY + self.plans.make(binding), message, (YES, NO)))

    async def _by_plan(
        self, session: ClusterSession, proposal: Proposal, binding: Binding, plan: str | None
    ) -> Verdict:
        changed = ""
        if plan:
            try:
                nonce = self.plans.check(plan, binding)
            except Outdated:
                changed = "The cluster has changed since that plan was made; this is how it is now. "
            else:
                await self.plans.use(nonce)
                session.confirmation = "plan"
                return Verdict(go=True, shown=True)
        return Verdict(
            go=False,
            text=f"{changed}Nothing was {proposal.done} yet. To do just this, call again with the same arguments and "
            f"this plan, within {LIFETIME // 60} minutes, once:\nplan: {self.plans.make(binding)}",
        )
