from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gains.config import compose, config_folder
from gains.models.build import build_network
from gains.models.gains import GAInSMaskBranch


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def composed(name: str, *overrides: str) -> DictConfig:
    return compose(name, *(["num_classes=2"] if name == "train" else []), *overrides)


@pytest.mark.parametrize("task", ["train", "eval", "predict", "prepare", "score"])
def test_each_task_composes(task: str) -> None:
    assert composed(task)


@pytest.mark.parametrize("name", options("model"))
def test_each_model_is_built_with_its_targets_and_optimizer(name: str) -> None:
    config = composed("train", f"model={name}", "model/size=small")
    assert config.model.name == name
    assert sum(parameter.numel() for parameter in build_network(config).parameters()) > 1e6
    for target in config.model.targets.values():
        assert callable(instantiate(target))
    assert callable(instantiate(config.model.optimizer))


@pytest.mark.parametrize("name", options("dataset"))
def test_each_dataset_has_what_training_reads(name: str) -> None:
    dataset = composed("train", f"dataset={name}").dataset
    assert {"root", "categories", "intensity", "fold", "num_folds", "seed", "ratios", "max_detections"} <= set(dataset)
    assert {"window", "gain", "overlap_gain", "variant", "statistic"} <= set(dataset.gamm)


@pytest.mark.parametrize("group", ["augmentation", "trainer", "logger", "callbacks", "debug", "model/size"])
def test_each_option_of_a_group_composes(group: str) -> None:
    for name in options(group):
        config = composed("train", f"{group}={name}")
        assert OmegaConf.to_container(config.augmentation, resolve=True)
        instantiate(config.augmentation.transforms)


@pytest.mark.parametrize("path", sorted((config_folder() / "experiment").rglob("*.yaml")), ids=lambda path: path.stem)
def test_each_experiment_composes(path: Path) -> None:
    name = path.relative_to(config_folder() / "experiment").with_suffix("").as_posix()
    config = composed("train", f"experiment={name}")
    assert OmegaConf.to_container(config.model.network, resolve=True)


def test_paper_recipe_is_section_4() -> None:
    config = composed("train", "experiment=paper_kaggle2018")
    assert config.dataset.name == "kaggle2018"
    assert (config.trainer.max_steps, config.batch_size) == (20000, 1)
    assert dict(config.model.optimizer)["lr"] == 0.015
    assert [fraction * 20000 for fraction in config.model.schedule.milestones] == [15000, 18000]
    assert (config.model.weights, config.model.norm, config.model.trainable_layers) == ("imagenet", "frozen", 3)
    assert list(config.augmentation.short_sides) == list(range(640, 801, 32))
    assert config.model.rois_per_image == 512
    mask = config.model.network.mask
    assert (mask.mask_weight, mask.anomaly_weight, mask.anomaly.start, mask.refiner.size) == (0.75, 1.0, 0.0, 28)
    ours = composed("train").model.network.mask
    assert (ours.mask_weight, ours.anomaly_weight, ours.anomaly.start, ours.refiner.size) == (3.0, 1.0, 1.0, 56)


def test_paper_recipes_have_the_published_maps_and_no_others() -> None:
    published = {"isbi2014": (5, 0.5, 0.1), "uouc": (5, 0.5, 0.3), "kaggle2018": (8, 0.8, 0.1)}
    for name, settings in published.items():
        maps = composed("train", f"experiment=paper_{name}").model.targets.anomaly
        assert (maps.window, maps.gain, maps.overlap_gain) == settings
        assert composed("train", f"dataset={name}").model.targets.anomaly.gain == 2.0


def test_duplicates_are_told_by_masks_where_objects_cross_but_in_the_papers_recipes() -> None:
    by_mask = {
        name for name in options("dataset") if name != "default" and composed("train", f"dataset={name}").nms == "mask"
    }
    assert by_mask == {"crossing_chromosomes", "chromosomes", "uouc"}
    assert composed("train", "dataset=chromosomes", "nms=box").nms == "box"
    for name in ("isbi2014", "uouc", "kaggle2018"):
        recipe = composed("train", f"experiment=paper_{name}")
        assert (recipe.nms, recipe.nms_iou) == ("box", 0.5)


@pytest.mark.parametrize("experiment", [name for name in options("experiment") if name.startswith("paper_")])
@pytest.mark.parametrize("model", options("model"))
def test_each_method_has_its_optimizer_in_the_papers_recipe(model: str, experiment: str) -> None:
    config = composed("train", f"model={model}", f"experiment={experiment}")
    optimizer = config.model.optimizer
    if model == "fastinst":
        assert (optimizer._target_, optimizer.lr, optimizer.weight_decay) == ("torch.optim.AdamW", 1e-4, 0.05)
        assert config.model.backbone_lr_factor == 0.1
    else:
        assert (optimizer._target_, optimizer.momentum, optimizer.weight_decay) == ("torch.optim.SGD", 0.9, 1e-4)
        assert optimizer.lr == (0.0075 if model == "condinst" else 0.015)
        assert config.model.schedule.warmup_steps == 1000
    changed = composed("train", f"model={model}", f"experiment={experiment}", "model.optimizer.lr=0.3")
    assert changed.model.optimizer.lr == 0.3


@pytest.mark.parametrize(
    ("name", "branch", "reweight", "refined"),
    [
        ("neither", False, False, False),
        ("reweighting", False, True, False),
        ("branch", True, False, False),
        ("both", True, True, False),
        ("refinement", False, False, True),
        ("whole", True, True, True),
    ],
)
def test_ablations_switch_the_parts(name: str, branch: bool, reweight: bool, refined: bool) -> None:
    mask = build_network(composed("train", f"experiment=ablation/{name}")).mask
    assert isinstance(mask, GAInSMaskBranch)
    assert (mask.anomaly is not None, mask.reweight, mask.refiner is not None) == (branch, reweight, refined)


def test_the_sweep_of_ablations_has_each_of_them() -> None:
    swept = OmegaConf.load(config_folder() / "sweep" / "ablation.yaml").hydra.sweeper.params.experiment.split(",")
    there = {f"ablation/{path.stem}" for path in (config_folder() / "experiment" / "ablation").glob("*.yaml")}
    assert set(swept) == there
    whole, default = (composed("train", words) for words in ("experiment=ablation/whole", "model=gains"))
    assert whole.model == default.model


def test_resnet101_variant_is_a_deeper_backbone_and_nothing_else() -> None:
    shallow = OmegaConf.to_container(composed("train", "model=gains", "model/size=r50").model)
    deep = OmegaConf.to_container(composed("train", "model=gains_r101").model)
    assert isinstance(shallow, dict)
    assert isinstance(deep, dict)
    assert {key for key in deep if deep[key] != shallow[key]} == {"name", "resnet"}
    assert deep["resnet"] == "resnet101"


@pytest.mark.parametrize("name", ["release_cells", "release_chromosomes"])
def test_weights_for_others_come_from_generated_data_and_are_small(name: str) -> None:
    config = composed("train", f"experiment={name}", "target_label=1")
    assert config.dataset.format._target_.startswith("gains.data.synthetic.")
    state = build_network(config).state_dict().values()
    assert sum(value.numel() * (2 if value.dim() > 1 else 4) for value in state) < 25.9e6
