import pytest

from gateway.access.questions import AnswerNeeded, Answers, Question

FREE = Question("name", "Which name?")
CHOICE = Question("which", "Which one?", ("a", "b"))


def test_what_was_said_is_the_answer() -> None:
    """An answer that was given is not asked for again, even by a client that can't be asked any more."""
    assert Answers({"name": "web"}, can_ask=False).ask(FREE) == "web"
    assert Answers({"which": "b"}, can_ask=True).ask(CHOICE) == "b"


def test_an_unasked_question_is_put() -> None:
    """What is raised carries the question as it is to be put."""
    with pytest.raises(AnswerNeeded) as caught:
        Answers({"other": "x"}, can_ask=True).ask(CHOICE)
    assert caught.value.question is CHOICE


def test_nobody_to_ask_is_no_answer() -> None:
    """A client without a person behind it gets on without one."""
    assert Answers({}, can_ask=False).ask(CHOICE) is None


def test_declining_is_an_answer_too() -> None:
    """Whoever declined is not asked a second time."""
    assert Answers({"which": None}, can_ask=True).ask(CHOICE) is None


@pytest.mark.parametrize("said", ["c", "A", "", "a "])
def test_only_one_of_the_choices_counts(said: str) -> None:
    """A client that sends something else has not chosen."""
    assert Answers({"which": said}, can_ask=True).ask(CHOICE) is None
