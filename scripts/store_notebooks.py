"""Run notebooks and keep what they print and draw, small enough for a repository.

python scripts/store_notebooks.py notebooks/predict.ipynb ...; the environment says how: GAINS_NOTEBOOK_CHECKPOINT, a
trained model, and GAINS_NOTEBOOK_STEPS, how long they train.
"""

import argparse
import base64
import io
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

QUALITY = 85
"""Of stored pictures, of 100."""
TEMPORARY = re.compile(rf"{re.escape(tempfile.gettempdir())}/tmp\w+/")
"""The working directory of a notebook."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(path.parent)}}).execute()
        for cell in notebook.cells:
            cell.metadata.clear()  # when it ran
            for output in cell.get("outputs", []):
                if "text" in output:
                    output.text = TEMPORARY.sub("", output.text)
                if "image/png" in output.get("data", {}):
                    output.data["image/jpeg"] = jpeg(output.data.pop("image/png"))
        notebook.metadata.pop("widgets", None)
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def jpeg(picture: str) -> str:
    """A PNG in base64 as a JPEG in base64, a third of its size."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        stored = io.BytesIO()
        image.convert("RGB").save(stored, format="JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(stored.getvalue()).decode()


if __name__ == "__main__":
    main()
