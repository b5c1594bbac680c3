from collections.abc import Mapping

import hydra
import pytest
from omegaconf import DictConfig

from gains.config import compose, config_folder
from gains.errors import InputError
from gains.typed import as_typed
from gains.values import LENGTHS, NUMBERS, ONE_OF, WHOLE, check_values

COMMANDS = ("prepare", "train", "eval", "predict", "score", "compare", "sweep", "models")


def composed(command: str, *words: str) -> tuple[DictConfig, Mapping[str, str | None]]:
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose(command, as_typed(command, words), return_hydra_config=True)
    return config, config.hydra.runtime.choices


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_files_say_is_allowed(command: str) -> None:
    check_values(command, *composed(command))


@pytest.mark.parametrize("group", ["dataset", "augmentation", "model", "trainer", "experiment", "debug", "callbacks"])
def test_so_is_every_option(group: str) -> None:
    for path in sorted((config_folder() / group).glob("*.yaml")):
        if (group, path.stem) != ("dataset", "default"):
            check_values("train", *composed("train", f"{group}={path.stem}"))


@pytest.mark.parametrize(
    "word",
    [
        *("trainer.val_check_interval=0.5", "trainer.devices=2", "trainer.limit_val_batches=0", "nms_iou=1"),
        *("model.optimizer.lr=1e-6", "trainer.gradient_clip_val=null", "callbacks.overlays=null", "fold=null"),
        *("augmentation.short_sides=256", "dataset.name=2024", "model.weights=coco", "trainer.max_steps=-1"),
        *("model.anchor_sizes=auto", "model.anchor_sizes=[8,16,32,64,128]"),
    ],
)
def test_other_values_that_mean_something_are(word: str) -> None:
    check_values("train", *composed("train", word if word != "fold=null" else "dataset.fold=null"))


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("train", "batch_size=0", "batch_size=0 must be a whole number of at least 1"),
        ("train", "batch_size=2.5", "whole number"),
        ("train", "batch_size=[2]", r"batch_size=\[2\] must be"),
        ("train", "batch_size=true", "whole number"),
        ("predict", "batch_size=null", "batch_size=null: it must be a whole number of at least 1"),
        ("eval", "num_workers=-1", "num_workers=-1 must be a whole number of at least 0"),
        ("train", "seed=4294967296", "from 0 to 4294967295"),
        ("train", "trainer.max_steps=abc", "trainer.max_steps=abc must be a whole number of at least -1"),
        ("train", "trainer.limit_train_batches=-1", "a number of at least 0"),
        ("train", "model.anchor_sizes=[8]", "auto or a list of 5 numbers"),
        ("train", "model.anchor_sizes=automatic", "auto or a list of 5 numbers"),
        ("train", "augmentation.short_sides=[a]", "a list of one or more numbers"),
        ("train", "model.resnet=[resnet50]", "must be one name, such as"),
        ("train", "tune=maybe", "must be true or false"),
        ("train", "tune=null", "tune=null: it must be true or false"),
        ("train", "nms_iou=null", "nms_iou=null: it must be a number"),
        ("train", "model.optimizer.lr=null", "model.optimizer.lr=null: it must be a number"),
        ("train", "trust=null", "trust=null: it must be a list"),
        ("train", "max_detections=null", "max_detections=null: it must be a whole number of at least 1"),
        ("train", "augmentation.test_short_side=wide", "must be a whole number of at least 1"),
        ("train", "dataset.gamm.gain=high", "must be a number, such as"),
        ("train", "dataset.root=null", "dataset.root=null: it must be a path or name"),
        ("prepare", "dataset.intensity=bright", "one of full_range, percentile"),
        ("prepare", "dataset.ratios=[1]", "a list of 3 numbers"),
        ("score", "score_threshold=nan", "a number from 0 to 1"),
        ("score", "bootstrap_samples=many", "a whole number of at least 0"),
        ("compare", "seeds=one", "a list of one or more numbers"),
        ("sweep", "trials=0", "a whole number of at least 1"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(command: str, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_values(command, *composed(command, word))


def test_every_setting_named_here_exists() -> None:
    trees = [compose(command) for command in COMMANDS] + [compose("train", "callbacks=default", "dataset=coco")]
    for name in (*WHOLE, *NUMBERS, *LENGTHS, *ONE_OF):
        if name.startswith("trainer."):
            continue  # arguments of Lightning's that no file sets are among them
        *above, last = name.split(".")
        found = False
        for tree in trees:
            node = tree
            for part in above:
                node = node.get(part) if isinstance(node, DictConfig) else None
            found |= isinstance(node, DictConfig) and last in node
        assert found, name
