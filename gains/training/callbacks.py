"""What happens beside training: pictures of validation images, predictions written at test time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from gains.contract import Batch, Target
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import Annotations
from gains.drawing import Picture, anomaly_figure, save_image
from gains.drawing.compared import comparison_figure
from gains.formats.coco_ids import Id
from gains.images.intensity import to_shown
from gains.models.gains import GAInSMaskBranch
from gains.models.parts.roi.masks import paste_maps
from gains.plain import write_json
from gains.training.module import InstanceSegmentation
from gains.training.shares import Share

REACH = 2.0
"""Colours of predicted anomaly maps go at least so far: true ones do, and what an unsure network adds to 1 is noise."""


def to_pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """Image ``(3, H, W)`` in [0, 1] as it is shown: uint8 ``(H, W, 3)``."""
    return to_shown((image.detach().cpu() * 255).round().byte().permute(1, 2, 0).numpy())


def comparison(image: Tensor, target: Target, found: dict[str, Any], score_threshold: float, title: str) -> Any:
    """Picture of one image, its ground truth and the detections from a score on."""
    scores = found["scores"].cpu().double().numpy()
    shown = np.flatnonzero(scores >= score_threshold)
    crops, labels = found["masks"].paste().select(shown.tolist()), found["labels"].cpu().numpy()[shown]
    truth = (target["masks"].to("cpu"), target["labels"].tolist())
    return comparison_figure(to_pixels(image), truth, (crops, labels.tolist()), scores[shown], title)


def predicted_anomaly(image: Tensor, found: dict[str, Any], score_threshold: float) -> Picture:
    """Picture of one image and the gradient anomaly that GAInS predicts on the detections from a score on."""
    shown = found["scores"] >= score_threshold
    size = (int(image.shape[-2]), int(image.shape[-1]))
    maps = paste_maps(found["anomaly_maps"][shown], found["boxes"][shown], size, background=1)
    return anomaly_figure(to_pixels(image), maps, caption="predicted gradient anomaly", reach=REACH)


def anomaly_branch(module: pl.LightningModule) -> GAInSMaskBranch | None:
    """The mask branch of a network that can predict anomaly maps."""
    mask = getattr(module.network, "mask", None)
    return mask if isinstance(mask, GAInSMaskBranch) and mask.anomaly is not None else None


class SampleOverlays(pl.Callback):
    """At every validation, draw the first images with truth and prediction; at the start, some anomaly maps.

    Args:
        count: number of images.
    """

    def __init__(self, count: int = 4) -> None:
        self.count = count

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Anomaly maps of the first training images, where the model uses them."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, InstanceDataModule) or "anomaly" not in datamodule.derived:
            return
        dataset = datamodule.dataset("train", augment=True)
        for index in range(min(self.count, len(dataset))):
            image, target = dataset[index]
            self._keep(trainer, f"anomaly_{index}", anomaly_figure(to_pixels(image), target["anomaly"]))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the image if it is one of the first."""
        if batch_idx >= self.count or trainer.sanity_checking:
            return
        images, targets = batch
        assert isinstance(pl_module, InstanceSegmentation)
        threshold = pl_module.recipe.operating_point.score_threshold
        data = trainer.datamodule  # type: ignore[attr-defined]
        image_id = int(targets[0]["image_id"])
        name = data.annotations.name_of(image_id) if isinstance(data, InstanceDataModule) else f"image {image_id}"
        title = f"{name}, step {trainer.global_step}"
        picture = comparison(images[0], targets[0], outputs["predictions"][0], threshold, title)
        self._keep(trainer, f"val_{batch_idx}", picture)

    def _keep(self, trainer: pl.Trainer, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Save a picture in the run folder and hand it to W&B."""
        if not trainer.is_global_zero:
            return
        save_image(Path(trainer.default_root_dir) / "figures" / f"{name}.png", picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(name, [picture], step=trainer.global_step)


class PredictionWriter(pl.Callback):
    """At test time, draw the first images and write all predictions in COCO's results format.

    Several processes draw their own images; the first writes the predictions of all.

    Args:
        folder: receives ``predictions.json`` and ``figures/``.
        annotations: of the images.
        score_threshold: score from which a detection is drawn.
        share: which of the images this process looks at.
        count: number of images to draw.

    Attributes:
        entries: predictions of all images, once the test has ended.
        anomalies: by image name, of GAInS: predicted anomaly maps beside the image; once the test has ended.
    """

    def __init__(
        self, folder: Path, annotations: Annotations, score_threshold: float, share: Share, count: int = 8
    ) -> None:
        self.folder = folder
        self.annotations = annotations
        self.count = count
        self.score_threshold = score_threshold
        self.share = share
        self.entries: list[dict[str, Any]] = []
        self.anomalies: dict[str, Picture] = {}
        self.usual = False
        self._found: list[tuple[str, list[dict[str, Any]], Picture | None]] = []

    def _place(self, batch_idx: int) -> int | None:
        """Place of a batch's image among all; None for one that another process looks at."""
        places = self.share.places
        return places[batch_idx] if batch_idx < len(places) else None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember whether anomaly maps are predicted anyway."""
        if (mask := anomaly_branch(pl_module)) is not None:
            self.usual = mask.predict_anomaly

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Ask for the anomaly maps of the images that are drawn, and of no others: they cost time."""
        if (mask := anomaly_branch(pl_module)) is not None:
            place = self._place(batch_idx)
            mask.predict_anomaly = self.usual or (place is not None and place < self.count)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep one batch's predictions."""
        images, targets = batch
        place = self._place(batch_idx)
        if place is None:
            return
        for image, target, found in zip(images, targets, outputs["predictions"], strict=True):
            name, anomaly = self.annotations.name_of(int(target["image_id"])), None
            if place < self.count:
                picture = comparison(image, target, found, self.score_threshold, name)
                save_image(self.folder / "figures" / f"test_{place}.png", picture)
                if "anomaly_maps" in found:
                    anomaly = predicted_anomaly(image, found, self.score_threshold)
                    save_image(self.folder / "figures" / f"anomaly_test_{place}.png", anomaly)
            entries = coco_results(found, int(target["image_id"]), self.annotations.category_ids)
            self._found.append((name, entries, anomaly))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write them."""
        if (mask := anomaly_branch(pl_module)) is not None:
            mask.predict_anomaly = self.usual
        everything = self.share.gather(self._found)
        self.entries = [entry for _, entries, _ in everything for entry in entries]
        self.anomalies = {name: picture for name, _, picture in everything if picture is not None}
        if self.share.first:
            write_predictions(self.folder / "predictions.json", self.entries, self.annotations)


def write_predictions(path: Path, entries: Sequence[dict[str, Any]], annotations: Annotations) -> None:
    """Write entries of a COCO results list, with the image ids of the data set as it was distributed."""
    write_json(path, [{**entry, "image_id": annotations.image_ids[entry["image_id"]]} for entry in entries])


def coco_results(found: dict[str, Any], image_id: int, category_ids: Sequence[Id]) -> list[dict[str, Any]]:
    """Predictions of one image as entries of a COCO results list."""
    boxes = found["boxes"].cpu().tolist()
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label - 1],
            "score": score,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": rle,
        }
        for (x0, y0, x1, y1), label, score, rle in zip(
            boxes, found["labels"].tolist(), found["scores"].tolist(), found["rles"], strict=True
        )
    ]
