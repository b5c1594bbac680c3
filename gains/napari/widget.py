"""The dock widget of napari: choose a model, run it on the current image, correct what it found, save that."""

from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FileEdit, FloatSpinBox, Label, ProgressBar, PushButton
from magicgui.widgets import create_widget as create
from napari.layers import Image, Labels, Layer
from napari.qt.threading import GeneratorWorkerSignals, WorkerBase
from napari.viewer import Viewer

from gains.errors import InputError
from gains.models.released import released_models
from gains.napari.corrections import save_corrections
from gains.napari.layers import CATEGORY, PLANE, corrected, result_layers, shown_plane
from gains.napari.segmentation import Segmentation, Stopped
from gains.prediction.result import Prediction

FILE = "checkpoint file"
AS_TRAINED, ESTIMATED = "as trained", "estimated"
MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
HINT = "paint and erase in the labels layers; hidden ones are not saved"


class SegmentWidget(Container):  # type: ignore[misc]  # napari is an extra, of which the type checker knows nothing
    """What the plugin shows.

    Args:
        viewer: whose layers it works on.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.image = create(annotation=Image, label="image")
        self.model = ComboBox(label="model", choices=[*map(str, released_models()), FILE])
        self.file = FileEdit(label="file", mode="r", filter="*.ckpt *.safetensors")
        self.diameter = FloatSpinBox(label="object diameter", min=0, max=10000, step=1)
        self.threshold = FloatSpinBox(label="score threshold", min=0, max=1, step=0.05)
        self.intensity = ComboBox(label="intensity", choices=[AS_TRAINED, "full_range", "percentile"])
        self.tile = FloatSpinBox(label="tile", min=0, max=100000, step=32)
        self.run_button, self.cancel_button = PushButton(text="Run"), PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(min=0, max=100, value=0, label="progress")
        self.folder = FileEdit(label="save to", mode="d", value=Path.home() / "corrections")
        self.save_button = PushButton(text="Save corrections")
        self.status = Label(value="")
        self.worker: Any = None
        super().__init__(
            widgets=[
                *(self.image, self.model, self.file, self.diameter, self.threshold, self.intensity, self.tile),
                *(self.run_button, self.cancel_button, self.progress, self.folder, self.save_button, self.status),
            ]
        )
        for number, unset in ((self.diameter, ESTIMATED), (self.threshold, AS_TRAINED), (self.tile, AS_TRAINED)):
            number.native.setSpecialValueText(unset)
        self.tile.native.setDecimals(0)
        self.status.native.setWordWrap(True)
        self.model.changed.connect(self._show_file)
        self.run_button.changed.connect(self.run)
        self.cancel_button.changed.connect(self.cancel)
        self.save_button.changed.connect(self.save)
        viewer.layers.selection.events.active.connect(self._follow)
        self._show_file(self.model.value)

    def run(self) -> None:
        """Start the model on the plane that is shown of the chosen image; layers appear when it is done."""
        layer = self.image.value
        try:
            pixels, name, metadata = self._plane(layer)
            job = Segmentation(self._checkpoint(), pixels, name, self._settings())
        except InputError as error:
            self._say(str(error))
            return
        self.worker = Worker(job)
        self.worker.yielded.connect(self._advance)
        self.worker.returned.connect(lambda result: self._show(layer, job, metadata, *result))
        self.worker.finished.connect(self._end)
        self._busy(True)
        self._say("running")
        self.worker.start()

    def cancel(self) -> None:
        """Stop after the batch of tiles that the model is at; nothing is added."""
        if self.worker is not None:
            self.worker.quit()
            self._say("stopping")

    def save(self) -> None:
        """Save the visible labels layers of the plane with it, for ``gains prepare dataset=drawings``."""
        layer = self.image.value
        try:
            image, name, metadata = self._plane(layer)
            labels = [each for each in self.viewer.layers if isinstance(each, Labels)]
            # A layer that somebody added says nothing of where it belongs.
            own = [each for each in labels if each.metadata.get(PLANE, metadata[PLANE]) == metadata[PLANE]]
            shown = [(each.name, np.asarray(each.data), each.metadata.get(CATEGORY)) for each in own if each.visible]
            instances = corrected(shown, (image.shape[0], image.shape[1]))
            path = save_corrections(Path(self.folder.value), name, image, instances)
        except InputError as error:
            self._say(str(error))
            return
        hidden = f"; hidden layers ({len(own) - len(shown)}) are left out" if len(shown) < len(own) else ""
        self._say(
            f"{len(instances)} objects saved as {path.name}{hidden}. When all images are done: "
            f"gains prepare dataset=drawings dataset.source={path.parent}"
        )

    def _show(
        self, layer: Layer, job: Segmentation, metadata: dict[str, Any], found: Prediction | None, notes: list[str]
    ) -> None:
        """Add the layers of a result; those of earlier ones of the same image are hidden, not lost."""
        if found is None:
            self._say("\n".join(notes))
            return
        for earlier in self.viewer.layers:
            if earlier.metadata.get(PLANE, "").startswith(str(layer.unique_id)):
                earlier.visible = False
        place = {name: getattr(layer, name)[-2:] for name in ("scale", "translate", "units")}
        added = [
            self.viewer.add_layer(Layer.create(*made))
            for made in result_layers(found, job.image, job.name, metadata, place, pixel_size_um(layer))
        ]
        self.viewer.layers.selection.active = added[0]  # ready to be painted in, while the outlines lie on top
        self._say("\n".join([f"{len(found)} objects; {HINT}", *notes]))

    def _checkpoint(self) -> str:
        if self.model.value != FILE:
            return str(self.model.value)
        if not Path(self.file.value).is_file():
            raise InputError("choose a checkpoint file that gains train wrote")
        return str(self.file.value)

    def _settings(self) -> dict[str, Any]:
        """What is not left as trained."""
        values = {"tile": int(self.tile.value), "score_threshold": self.threshold.value}
        values |= {"object_diameter": self.diameter.value}
        chosen = {name: value for name, value in values.items() if value}
        return chosen if self.intensity.value == AS_TRAINED else {**chosen, "intensity": self.intensity.value}

    def _plane(self, layer: Image | None) -> tuple[Any, str, dict[str, Any]]:
        """Pixels of the plane that is shown, what it is called, and the metadata by which its layers are known.

        Raises:
            InputError: if no image is open.
        """
        if layer is None:
            raise InputError("open an image first")
        data = layer.data[0] if layer.multiscale else layer.data
        pixels, place = shown_plane(data, layer.rgb, self.viewer.dims.current_step, layer.name)
        name = "_".join([layer.name, *(f"{index + 1:03d}" for index in place)])
        return pixels, name, {PLANE: f"{layer.unique_id} {name}"}

    def _follow(self) -> None:
        """The image that is clicked on in the list of layers is the one to run on."""
        active = self.viewer.layers.selection.active
        if isinstance(active, Image) and active in self.image.choices:
            self.image.value = active

    def _show_file(self, model: str) -> None:
        self.file.visible = model == FILE

    def _advance(self, share: float) -> None:
        self.progress.value = round(100 * share)

    def _end(self) -> None:
        if self.worker.abort_requested:
            self._say("cancelled")
        self.worker = None
        self._busy(False)

    def _busy(self, busy: bool) -> None:
        self.run_button.enabled, self.cancel_button.enabled = not busy, busy
        self.progress.value = 0

    def _say(self, text: str) -> None:
        self.status.value = text


class Worker(WorkerBase):  # type: ignore[misc]
    """A segmentation in a thread of its own; ``yielded`` carries its progress, ``returned`` its result."""

    def __init__(self, job: Segmentation) -> None:
        super().__init__(SignalsClass=GeneratorWorkerSignals)
        self.job = job

    def work(self) -> Any:
        """The instances and what there is to say: of a wrong setting nothing but that."""
        try:
            return self.job(self._report)
        except InputError as error:
            return None, [str(error)]
        except Stopped:
            return None, []

    def _report(self, share: float) -> None:
        if self.abort_requested:
            raise Stopped
        self.yielded.emit(share)


def pixel_size_um(layer: Layer) -> float | None:
    """Side of a pixel in micrometres, where a layer has square pixels of a known unit."""
    units = [str(unit) for unit in layer.units[-2:]]
    rows, columns = (float(side) for side in layer.scale[-2:])
    if units[0] not in MICROMETRES or units[0] != units[1] or not np.isclose(rows, columns):
        return None
    return rows * MICROMETRES[units[0]]
