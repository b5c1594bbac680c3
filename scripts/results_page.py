"""Write docs/results.md from what is kept under results/: python scripts/results_page.py

Every folder there with an ``about.md`` is a study. Its page begins with that text; then come the tables of its runs, as
``gains compare runs=FOLDER`` gives them, and its CSV files. Nothing is trained.
"""

import csv
from pathlib import Path

from gains.comparison.collect import STATISTICS, collect
from gains.comparison.tables import Comparison, Table, markdown, sentences, tables
from gains.files import replacing

ROOT = Path(__file__).parents[1]
BASELINE, METRIC, SAMPLES = "mask_rcnn", "segm_map", 1000
HEAD = """# Results

Written by `python scripts/results_page.py` from what runs have left under `results/`; do not edit it by hand.
Differences are paired by seed and image; their 95 % intervals come from drawing images and seeds anew
([how](metrics.md)).
"""


def studies(root: Path) -> list[Path]:
    """Folders of the studies, in the order of their names."""
    return sorted(about.parent for about in root.rglob("about.md"))


def study_page(folder: Path) -> str:
    """One study: its text, the tables of its runs, its CSV files."""
    parts = [(folder / "about.md").read_text(encoding="utf-8").strip()]
    if any(folder.rglob(STATISTICS)):
        comparison = Comparison.of(collect([folder]), BASELINE, METRIC, SAMPLES, seed=0)
        parts.append("\n".join(f"- {sentence}" for sentence in sentences(comparison)))
        parts += [markdown(table).strip() for table in tables(comparison) if table.rows]
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        parts.append(markdown(Table(path.stem.replace("_", " "), header, rows)).strip())
    return "\n\n".join(parts)


def page(root: Path) -> str:
    """The whole page."""
    return "\n\n".join([HEAD.strip(), *(study_page(folder) for folder in studies(root))]) + "\n"


def main() -> None:
    """Write it."""
    with replacing(ROOT / "docs" / "results.md") as temporary:
        temporary.write_text(page(ROOT / "results"), encoding="utf-8")


if __name__ == "__main__":
    main()
