"""Work done ahead in a thread, so that reading, the network and writing overlap."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Generic, NoReturn, TypeVar

Item = TypeVar("Item")

LOOK = 0.1
"""Seconds after which a thread that waits for room looks whether anybody still wants its items."""


def ahead(
    items: Iterable[Item], room: int, weigh: Callable[[Item], int] = lambda item: 1
) -> Generator[Item, None, None]:
    """The same items in the same order, made by a thread of its own up to ``room`` ahead of whoever takes them.

    An error that making an item raises is raised here, when its turn comes. When the generator is closed, or an error
    or Ctrl-C ends whoever takes the items, the thread stops at the item it is at and closes its generator in turn.

    Args:
        items: made one after the other, in the thread.
        room: how many may wait; 0 makes each when it is asked for, without a thread.
        weigh: how much of the room an item takes, at least 1; one that takes more than there is waits alone.
    """
    if room == 0:
        yield from items
        return
    waiting = _Waiting[Callable[[], Item] | None](room)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(items, waiting, unwanted, weigh), name="ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()[1]) is not None:
            yield item()
    finally:
        unwanted.set()
        thread.join()


class _Waiting(queue.Queue[tuple[int, Item]], Generic[Item]):
    """A queue whose length is what all that wait weigh."""

    weight = 0

    def _qsize(self) -> int:
        return self.weight

    def _put(self, item: tuple[int, Item]) -> None:
        self.weight += item[0]
        super()._put(item)

    def _get(self) -> tuple[int, Item]:
        item = super()._get()
        self.weight -= item[0]
        return item


def _make(
    items: Iterable[Item],
    waiting: "_Waiting[Callable[[], Item] | None]",
    unwanted: threading.Event,
    weigh: Callable[[Item], int],
) -> None:
    """Queue what gives each item, or raises the error that making it did, and None behind the last."""
    source = iter(items)
    try:
        for item in source:
            if not _put(partial(_same, item), weigh(item), waiting, unwanted):
                break
    # Whatever it is, it belongs to whoever takes the items.
    except BaseException as error:
        _put(partial(_raise, error), 1, waiting, unwanted)
    finally:
        if isinstance(source, Generator):
            source.close()
        _put(None, 1, waiting, unwanted)


def _put(entry: Item, weight: int, waiting: "_Waiting[Item]", unwanted: threading.Event) -> bool:
    """Wait for room; False if nobody wants more."""
    while not unwanted.is_set():
        try:
            waiting.put((weight, entry), timeout=LOOK)
        except queue.Full:
            continue
        return True
    return False


def _same(item: Item) -> Item:
    return item


def _raise(error: BaseException) -> NoReturn:
    raise error
