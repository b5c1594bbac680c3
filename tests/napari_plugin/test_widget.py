"""The widget in a real viewer; needs napari and a display: ``xvfb-run -a pytest tests/napari_plugin``."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gains
from gains.data.sources.drawings import Drawings
from gains.prediction.predictor import Predictor
from helpers.blob_finder import blob_predictor, draw_disks

napari = pytest.importorskip("napari", reason="napari is not installed: pip install 'gains[napari]'")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    pytest.skip("there is no display: xvfb-run -a pytest tests/napari_plugin", allow_module_level=True)

import npe2  # noqa: E402
from napari.layers import Labels, Shapes  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from gains.napari import segmentation  # noqa: E402
from gains.napari.widget import FILE, SegmentWidget  # noqa: E402

MANIFEST = Path(gains.__file__).parent / "napari" / "napari.yaml"


@pytest.fixture
def viewer() -> Iterator[Any]:
    made = napari.Viewer(show=False)
    yield made
    made.close()
    QApplication.processEvents()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Settings that models are loaded with; the model is one that finds bright blobs."""
    settings: list[dict[str, Any]] = []

    def load(_: str, **given: Any) -> Predictor:
        settings.append(given)
        return blob_predictor(**given)

    monkeypatch.setattr(segmentation, "load_model", load)
    return settings


def widget_in(viewer: Any, tmp_path: Path) -> SegmentWidget:
    """The widget, docked, with a file chosen as its model."""
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.touch()
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.model.value, widget.file.value = FILE, checkpoint
    widget.folder.value = tmp_path / "corrections"
    return widget


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "nothing happened for too long"
        QApplication.processEvents()
        time.sleep(0.005)


def run(widget: SegmentWidget) -> None:
    widget.run()
    wait(lambda: widget.worker is None)


def overlapping() -> Any:
    """Red blobs and a green one over the first of them."""
    image, _ = draw_disks((60, 80), [(20, 20, 10), (60, 30, 12)])
    return draw_disks((60, 80), [(28, 22, 7)], channel=1, start=image)[0]


def test_napari_finds_the_widget_by_the_manifest(viewer: Any) -> None:
    manager = npe2.PluginManager.instance()
    if "gains" not in manager:
        manager.register(npe2.PluginManifest.from_file(MANIFEST))
    [contribution] = manager.get_manifest("gains").contributions.widgets
    assert isinstance(contribution.get_callable()(viewer), SegmentWidget)


def test_a_run_adds_layers_with_measurements(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    layer = viewer.add_image(overlapping(), name="slide", scale=(0.5, 0.5))
    layer.units = ("um", "um")
    widget.threshold.value, widget.tile.value = 0.25, 64
    run(widget)
    assert loaded == [{"tile": 64, "score_threshold": 0.25}]
    assert [each.name for each in viewer.layers] == ["slide", "slide: nucleus", "slide: cytoplasm", "slide: outlines"]
    nucleus, cytoplasm, shapes = list(viewer.layers)[1:]
    assert isinstance(nucleus, Labels)
    assert isinstance(shapes, Shapes)
    assert (nucleus.scale == [0.5, 0.5]).all()
    assert nucleus.units == shapes.units == layer.units
    assert len(shapes.data) == len(shapes.features) == 3
    value = cytoplasm.data[22, 28]
    row = cytoplasm.features.set_index("index").loc[value]
    assert row["area"] == (cytoplasm.data == value).sum()
    assert row["area_um2"] == row["area"] / 4
    assert widget.status.value.startswith("3 objects")
    assert viewer.layers.selection.active is nucleus


def test_corrected_layers_are_saved_for_prepare(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    viewer.add_image(overlapping(), name="slide")
    run(widget)
    nucleus = viewer.layers["slide: nucleus"]
    nucleus.fill((20, 20), 0)
    nucleus.data[40:50, 20:30] = 77
    widget.save()
    [record] = Drawings(tmp_path / "corrections")
    assert np.array_equal(record.pixels, overlapping())
    assert sorted((each.category, each.mask["size"]) for each in record.instances) == [
        ("cytoplasm", [60, 80]), ("nucleus", [60, 80]), ("nucleus", [60, 80]),
    ]  # fmt: skip
    assert "gains prepare dataset=drawings" in widget.status.value


def test_a_second_run_hides_the_layers_of_the_first(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    viewer.add_image(overlapping(), name="slide")
    run(widget)
    run(widget)
    assert [each.visible for each in viewer.layers] == [True, *[False] * 3, *[True] * 3]
    widget.save()
    [record] = Drawings(tmp_path / "corrections")
    assert len(record.instances) == 3
    assert "hidden layers (2) are left out" in widget.status.value


def test_planes_of_a_stack_are_images_of_their_own(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    stack = np.stack([np.zeros((60, 80, 3), np.uint8), overlapping(), overlapping()])
    viewer.add_image(stack, name="z", rgb=True)
    for plane in (1, 0):
        viewer.dims.set_point(0, plane)
        run(widget)
        widget.save()
    found = {record.name: len(record.instances) for record in Drawings(tmp_path / "corrections")}
    assert found == {"z_001": 0, "z_002": 3}


def test_a_run_can_be_cancelled(viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network waits in its first batch until the button was pressed; no other batch follows."""
    entered, pressed = [], list[bool]()
    predictor = blob_predictor(tile=32, overlap=0, batch_size=1)
    network: Any = predictor.network
    forward = network.forward

    def slow(images: Any) -> Any:
        entered.append(True)
        while not pressed:
            time.sleep(0.005)
        return forward(images)

    monkeypatch.setattr(network, "forward", slow)
    monkeypatch.setattr(segmentation, "load_model", lambda *_, **__: predictor)
    widget = widget_in(viewer, tmp_path)
    viewer.add_image(np.zeros((200, 200, 3), np.uint8), name="large")
    widget.run()
    wait(lambda: bool(entered))
    assert (widget.run_button.enabled, widget.cancel_button.enabled) == (False, True)
    widget.cancel()
    pressed.append(True)
    wait(lambda: widget.worker is None)
    assert network.batches == [1]
    assert widget.status.value == "cancelled"
    assert [each.name for each in viewer.layers] == ["large"]
    assert (widget.run_button.enabled, widget.cancel_button.enabled) == (True, False)


def test_progress_is_shown(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    seen: list[float] = []
    widget.progress.changed.connect(seen.append)
    viewer.add_image(np.zeros((128, 128, 3), np.uint8))
    widget.tile.value = 64
    run(widget)
    assert 100 in seen
    assert seen[-1] == 0


def test_what_is_wrong_is_said_in_the_widget(viewer: Any, tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    widget = widget_in(viewer, tmp_path)
    run(widget)
    assert widget.status.value == "open an image first"
    viewer.add_image(overlapping())
    widget.save()
    assert widget.status.value.startswith("there is no labels layer")
    widget.tile.value = 8
    run(widget)
    assert "tile must be at least 32" in widget.status.value
    widget.file.value = tmp_path / "absent.ckpt"
    run(widget)
    assert widget.status.value.startswith("choose a checkpoint file")
    assert len(viewer.layers) == 1
