"""``gains models``: the trained models that can be asked for by name."""

from omegaconf import DictConfig

from gains.models.released import Released, released_models

NONE = (
    "No trained model comes with this version. checkpoint= and model.weights= take a file that gains train wrote, "
    "or its address: checkpoint=https://host/cells.safetensors@sha256:CHECKSUM"
)


def run(config: DictConfig) -> None:
    """Print them, the newest version of each name first."""
    models = sorted(released_models(), key=lambda model: (model.name, -model.version))
    print("\n".join(map(line, models)) or NONE)


def line(model: Released) -> str:
    """What is said of one."""
    place = "in the package" if model.file is not None else f"downloaded from {model.url}"
    return f"{model}  {place}, sha256 {model.sha256[:12]}...\n    {model.card}"
