"""Which image comes when in training: a function of seed and epoch, so that a run can begin anywhere."""

from collections.abc import Iterator, Sized
from typing import NamedTuple

import torch
from torch.utils.data.distributed import DistributedSampler


class Draw(NamedTuple):
    """An image, by its place in the data set, and the epoch in which it is drawn, which decides its augmentation."""

    place: int
    epoch: int


class TrainingSampler(DistributedSampler[Draw]):
    """Every image once per epoch, in an order that depends on seed and epoch alone.

    Args:
        dataset: the images.
        seed: of the run.
        processes: number of processes that share an epoch; where it does not divide evenly, some images come twice.
        rank: this process among them.
        epoch: the first.
        done: images of the first epoch that this process has seen already.
    """

    def __init__(
        self, dataset: Sized, seed: int, processes: int = 1, rank: int = 0, epoch: int = 0, done: int = 0
    ) -> None:
        super().__init__(dataset, num_replicas=processes, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.epoch = self.first_epoch = epoch
        self.done = done

    def __iter__(self) -> Iterator[Draw]:
        """This process's images of the epoch that :meth:`set_epoch` has named last (Lightning calls it)."""
        epoch = self.epoch
        done = self.done if epoch == self.first_epoch else 0
        generator = torch.Generator().manual_seed(((self.seed & 0x7FFFFFFF) << 32) + epoch)
        order = torch.randperm(len(self.dataset), generator=generator).tolist()  # type: ignore[arg-type]
        order = (order * -(-self.total_size // len(order)))[: self.total_size]
        for index in order[self.rank : self.total_size : self.num_replicas][done:]:
            yield Draw(index, epoch)
