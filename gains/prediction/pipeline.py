"""Work done ahead in a thread, so that reading, the network and writing overlap."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import NoReturn, TypeVar

Item = TypeVar("Item")

LOOK = 0.1
"""Seconds after which a thread that waits for room looks whether anybody still wants its items."""


def ahead(items: Iterable[Item], room: int) -> Generator[Item, None, None]:
    """The same items in the same order, made by a thread of its own up to ``room`` ahead of whoever takes them.

    An error that making an item raises is raised here, when its turn comes. When the generator is closed, or an error
    or Ctrl-C ends whoever takes the items, the thread stops at the item it is at and closes its generator in turn.

    Args:
        items: made one after the other, in the thread.
        room: how many may wait; 0 makes each when it is asked for, without a thread.
    """
    if room == 0:
        yield from items
        return
    waiting: queue.Queue[Callable[[], Item] | None] = queue.Queue(room)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(items, waiting, unwanted), name="ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            yield item()
    finally:
        unwanted.set()
        thread.join()


def _make(items: Iterable[Item], waiting: "queue.Queue[Callable[[], Item] | None]", unwanted: threading.Event) -> None:
    """Queue what gives each item, or raises the error that making it did, and None behind the last."""
    source = iter(items)
    try:
        for item in source:
            if not _put(partial(_same, item), waiting, unwanted):
                break
    # Whatever it is, it belongs to whoever takes the items.
    except BaseException as error:
        _put(partial(_raise, error), waiting, unwanted)
    finally:
        if isinstance(source, Generator):
            source.close()
        _put(None, waiting, unwanted)


def _put(entry: Item, waiting: "queue.Queue[Item]", unwanted: threading.Event) -> bool:
    """Wait for room; False if nobody wants more."""
    while not unwanted.is_set():
        try:
            waiting.put(entry, timeout=LOOK)
        except queue.Full:
            continue
        return True
    return False


def _same(item: Item) -> Item:
    return item


def _raise(error: BaseException) -> NoReturn:
    raise error
