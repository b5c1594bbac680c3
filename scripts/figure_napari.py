"""Take the screenshot of the napari plugin for the documentation: the shipped model on a generated image.

xvfb-run -a python scripts/figure_napari.py [docs/images/napari.png]; needs gains[napari].
"""

import argparse
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.napari.widget import SegmentWidget

SIZE = (1200, 700)
SECONDS = 300
"""After which it gives up."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=Path("docs/images/napari.png"))
    output = parser.parse_args().output
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    record = list(OverlappingCells(num_images=2, image_size=256, seed=77))[1]
    viewer.add_image(record.pixels, name="cells")
    widget = SegmentWidget(viewer)
    widget.folder.value = Path("/home/me/corrections")
    viewer.window.add_dock_widget(widget, name="Segment overlapping cells (GAInS)", area="right")
    widget.run()
    until = time.monotonic() + SECONDS
    while len(viewer.layers) == 1 and time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.05)
    viewer.reset_view()
    for _ in range(40):  # thumbnails and layout settle
        QApplication.processEvents()
        time.sleep(0.05)
    viewer.window.screenshot(str(output), canvas_only=False, flash=False)
    print(f"{output}: {len(viewer.layers) - 1} layers of results")
    viewer.close()


if __name__ == "__main__":
    main()
