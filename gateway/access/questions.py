"""Boundary between a tool that needs a person's word and whatever can ask for it.

A tool never waits for an answer: it says what it needs, and is run again from the top with the answer. So no lease,
deadline or side effect is held while a person thinks, and both protocol generations work alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the person: `key` names it between runs; with `choices` one of them is the answer, else text."""

    key: str
    message: str
    choices: tuple[str, ...] = ()


class AnswerNeeded(Exception):  # not an error: the tool is run again with the answer
    """The tool can't go on before the person has answered."""

    def __init__(self, question: Question) -> None:
        """Keep the question to ask."""
        super().__init__(question.key)
        self.question = question


@dataclass(frozen=True, slots=True)
class Answers:
    """What the person has said so far; None for a question that was declined. `can_ask`: whether anybody can be."""

    given: Mapping[str, str | None]
    can_ask: bool

    def ask(self, question: Question) -> str | None:
        """Return the person's answer, or None where it was declined or nobody can be asked.

        Raises:
            AnswerNeeded: The question has not been put yet.
        """
        if question.key in self.given:
            answer = self.given[question.key]
            return answer if not question.choices or answer in question.choices else None
        if self.can_ask:
            raise AnswerNeeded(question)
        return None
