"""``gains prepare``: a data set as distributed, or generated, to the folder that training reads."""

from pathlib import Path

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gains.data.download import fetch
from gains.data.prepare import Prepared, check_root, prepare
from gains.data.records import Source
from gains.errors import InputError


def run(config: DictConfig) -> None:
    """Prepare the configured data set and say what it holds."""
    dataset = config.dataset
    check_root(Path(dataset.root), config.overwrite)
    dataset.source = fetch(dataset.source, Path(config.downloads), dataset.sha256)
    dataset.images = fetch(dataset.images, Path(config.downloads))
    prepared = prepare(
        build_source(dataset.format),
        dataset.root,
        seed=dataset.seed,
        ratios=list(dataset.ratios),
        groups=dataset.groups,
        categories=dataset.categories,
        overwrite=config.overwrite,
        info={"dataset": dataset.name, "source": dataset.source and Path(dataset.source).name},
    )
    print(summary(prepared))


def build_source(form: DictConfig) -> Source:
    """Construct ``dataset.format``.

    Raises:
        InputError: as the source itself raises it, which Hydra would wrap.
    """
    try:
        source: Source = instantiate(form)
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise
    return source


def summary(prepared: Prepared) -> str:
    """Counts of instances and images, and where they are."""
    images = ", ".join(f"{split} {len(names)}" for split, names in prepared.splits.items())
    instances = ", ".join(f"{count} {name}" for name, count in prepared.instances.items())
    division = "official division" if prepared.official else "seeded division"
    total = sum(map(len, prepared.splits.values()))
    return f"{total} images ({division}: {images})\n{instances}\nprepared: {prepared.root}"
