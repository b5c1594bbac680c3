"""``gains train`` in this process, on images of noise."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from gains.config import config_folder
from gains.tasks import train

SMALL = (
    "dataset=coco",
    "model=mask_rcnn",
    "model.width={fpn: 8, box: 8, mask: 8}",
    "model.proposals={pre_nms: [20, 20], post_nms: [20, 10]}",
    "augmentation=none",
    "augmentation.short_sides=[32]",
    "logger=csv",
    "batch_size=2",
    "num_workers=0",
    "trainer.max_steps=2",
    "trainer.log_every_n_steps=1",
    "callbacks.progress=null",
    "dataset.seed=0",
)
"""A network that learns nothing, quickly."""


def run_train(root: Path, folder: Path, *overrides: str) -> float:
    """Train on a prepared folder as the command does once its folder is there; returns what a sweep is told."""
    settings = [*SMALL, f"dataset.root={root}", f"hydra.runtime.output_dir={folder}", *overrides]
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=settings, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    task = config.copy()
    OmegaConf.set_struct(task, False)
    del task["hydra"]
    OmegaConf.set_struct(task, True)
    folder.mkdir(parents=True, exist_ok=True)
    return train.run(task)
