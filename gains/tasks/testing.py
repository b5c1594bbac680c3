"""Running a model over a split, in one process or shared between those that trained it."""

import os
import time
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from gains.data.datamodule import InstanceDataModule
from gains.training.module import InstanceSegmentation
from gains.training.progress import StepBar
from gains.training.shares import Share


def run_test(
    module: InstanceSegmentation,
    datamodule: InstanceDataModule,
    split: str,
    accelerator: str,
    share: Share,
    callbacks: Sequence[pl.Callback] = (),
) -> float:
    """Fill a module's evaluator with this process's share of a split; what that computes is of all processes.

    Args:
        module: the model.
        datamodule: its data.
        split: ``train``, ``val`` or ``test``.
        accelerator: Lightning's name of the device to run on; each of several processes takes the one it trained on.
        share: of the images of the split.
        callbacks: of the test.

    Returns:
        Seconds it took.
    """
    own_device = accelerator == "cuda" and share.processes > 1
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=[torch.cuda.current_device()] if own_device else 1,
        # What started several processes does not count here: each is on its own, but for what the evaluator gathers.
        plugins=[LightningEnvironment()] if share.processes > 1 else None,
        logger=False,
        callbacks=[*callbacks, *([StepBar()] if share.first else [])],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=share.first,
        # Under SLURM Lightning would rather load an hpc_ckpt_N.ckpt that lies there than test the weights it is given.
        default_root_dir=os.devnull,
    )
    begin = time.perf_counter()
    trainer.test(module, dataloaders=datamodule.evaluation_dataloader(split, share.seen), verbose=False)
    return time.perf_counter() - begin
