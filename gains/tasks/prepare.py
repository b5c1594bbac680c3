"""``gains prepare``: a data set as distributed, or generated, to the folder that training reads."""

from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gains.data.dataset import load_annotations
from gains.data.prepare import Prepared, check_root, prepare
from gains.data.source import Source
from gains.download import fetch
from gains.errors import InputError
from gains.reports.annotations import SHEET, write_sheet
from gains.tasks.sizes import pixel_size_of, prepared_sizes


def run(config: DictConfig) -> None:
    """Prepare the configured data set and say what it holds, how large its objects are, and what they look like."""
    prepared = prepare_dataset(config.dataset, Path(config.downloads), config.overwrite)
    print(summary(prepared))
    annotations = load_annotations(prepared.root)
    for line in prepared_sizes(config.dataset, annotations):
        print(line)
    write_sheet(prepared.root / SHEET, annotations)
    print(f"look at the annotations before training: {prepared.root / SHEET}")


def prepare_dataset(dataset: DictConfig, downloads: Path = Path("data/downloads"), overwrite: bool = False) -> Prepared:
    """Prepare what a ``dataset`` node describes.

    Args:
        dataset: the node.
        downloads: where a source that is a URL is kept.
        overwrite: replace an earlier prepared folder.
    """
    check_root(Path(dataset.root), overwrite)
    dataset.source = fetch(dataset.source, downloads, dataset.sha256)
    dataset.images = fetch(dataset.images, downloads)
    info = {"dataset": dataset.name, "source": dataset.source and Path(dataset.source).name}
    if dataset.pixel_size_um is not None:
        info["pixel_size_um"] = pixel_size_of(dataset, {})
    return prepare(
        build_source(dataset.format),
        dataset.root,
        seed=dataset.seed,
        ratios=list(dataset.ratios),
        groups=dataset.groups,
        categories=dataset.categories,
        overwrite=overwrite,
        info={**info, "generated": generator_settings(dataset)},
    )


def build_source(form: DictConfig) -> Source:
    """Construct ``dataset.format``.

    Raises:
        InputError: as the source itself raises it, which Hydra would wrap.
    """
    try:
        source: Source = instantiate(form)
    except InstantiationException as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        raise
    return source


def generator_settings(dataset: DictConfig) -> dict[str, Any] | None:
    """What a generated data set was drawn with; None for one that comes from files."""
    settings = OmegaConf.to_container(dataset.format, resolve=True)
    assert isinstance(settings, dict)
    if not str(settings["_target_"]).startswith("gains.data.synthetic."):
        return None
    return {str(name): value for name, value in settings.items() if not str(name).startswith("_")}


def summary(prepared: Prepared) -> str:
    """Counts of instances and images, and where they are."""
    images = ", ".join(f"{split} {len(names)}" for split, names in prepared.splits.items())
    instances = ", ".join(f"{count} {name}" for name, count in prepared.instances.items())
    division = "official division" if prepared.official else "seeded division"
    total = sum(map(len, prepared.splits.values()))
    notes = "".join(f"\nnote: {note}" for note in prepared.notes)
    return f"{total} images ({division}: {images})\n{instances}{notes}\nprepared: {prepared.root}"
