"""What the names of a comparison stand for, as overrides of ``gains train``."""

from pathlib import Path

from gains.comparison.queue import quoted


def model_overrides(name: str) -> list[str]:
    """A method by the name of its configuration, or a variant by that of an experiment: ``ablation/neither``."""
    if "/" in name:
        return [f"experiment={name}", f"model.name={Path(name).name}"]
    return [f"model={name}"]


def dataset_overrides(name: str) -> list[str]:
    """A data set by the name of its configuration, or by its prepared folder."""
    folder = Path(name)
    if (folder / "annotations.json").is_file():
        return ["dataset=coco", f"dataset.root={quoted(folder)}", f"dataset.name={quoted(Path(folder.name))}"]
    return [f"dataset={name}"]
