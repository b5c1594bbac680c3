"""Items made ahead in a thread: the same ones in order, no more than there is room for, and no thread left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from gains.prediction.pipeline import ahead


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("room", [0, 1, 3, 1000])
def test_the_same_items_in_order(room: int) -> None:
    before = threads()
    assert list(ahead(iter(range(200)), room)) == list(range(200))
    assert list(ahead([], room)) == []
    assert list(ahead([None, None], room)) == [None, None]
    assert threads() == before


@pytest.mark.parametrize("room", [1, 4])
def test_no_more_than_there_is_room_for(room: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for index in range(50):
            made.append(index)
            yield index

    for taken, item in enumerate(ahead(items(), room), 1):
        assert item == taken - 1
        # Those taken, those that wait, and the one the thread has in its hand.
        assert len(made) <= taken + room + 1


def test_what_takes_all_room_waits_alone() -> None:
    """Of light ones as many as there is room for, of heavy ones one, and the one the thread has in its hand."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for weight in [1] * 20 + [9] * 20:
            made.append(weight)
            yield weight

    found = ahead(items(), 4, lambda weight: weight)
    for taken, weight in enumerate(found, 1):
        time.sleep(0.01)
        assert len(made) <= taken + (5 if taken < 20 else 2)
        if taken == 1:
            wait = time.monotonic() + 10
            while len(made) < 6 and time.monotonic() < wait:
                time.sleep(0.001)
            assert len(made) == 6
        assert weight == (1 if taken <= 20 else 9)


def test_a_thread_makes_them_while_others_are_used() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    found = ahead(items(), 1)
    assert next(found) == 1
    assert second.wait(10)
    found.close()


@pytest.mark.parametrize("room", [0, 2])
def test_an_error_comes_when_its_turn_comes(room: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    taken: list[int] = []
    before = threads()
    with pytest.raises(OSError, match="the disk is gone"):
        taken.extend(ahead(items(), room))
    assert taken == [0, 1, 2]
    assert threads() == before


def test_closing_ends_a_chain_of_threads_and_closes_what_they_read() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield time.monotonic_ns()
        finally:
            closed.set()

    before = threads()
    chain = ahead(ahead(items(), 2), 1)
    next(chain)
    assert len(threads() - before) == 2
    chain.close()
    assert closed.is_set()
    assert threads() == before


def test_an_error_of_the_taker_ends_the_threads() -> None:
    before = threads()
    chain = ahead(ahead(iter(range(10**9)), 2), 1)
    with pytest.raises(KeyboardInterrupt):
        chain.throw(KeyboardInterrupt())
    next_chain = ahead(ahead(iter(range(10**9)), 2), 1)
    next(next_chain)
    with pytest.raises(KeyboardInterrupt):
        next_chain.throw(KeyboardInterrupt())
    assert threads() == before
