"""What is remembered about tokens, and that it is bounded."""

from gateway.identity.memory import Memory


def test_the_least_recently_used_is_forgotten_first() -> None:
    """Looking at a value keeps it, and a flood of others pushes out what nobody looked at."""
    memory: Memory[int] = Memory(3)
    for number, digest in enumerate("abc"):
        memory.put(digest, number)
    assert memory.get("a") == 0
    memory.put("d", 3)
    assert memory.get("b") is None
    memory.put("a", 9)
    memory.put("e", 4)
    assert [memory.get(digest) for digest in "abcde"] == [9, None, None, 3, 4]
    for number in range(1000):
        memory.put(str(number), number)
    assert len(memory) == 3


def test_values_can_be_dropped_one_by_one_or_by_what_they_are() -> None:
    """An ended verdict goes alone, a retired cluster's go together, and dropping what is not there is nothing."""
    memory: Memory[int] = Memory(10)
    for number in range(6):
        memory.put(str(number), number)
    memory.drop("1")
    memory.drop("1")
    memory.drop_if(lambda value: value % 2 == 0)
    assert [memory.get(str(number)) for number in range(6)] == [None, None, None, 3, None, 5]
