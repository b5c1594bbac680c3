"""Make a checkpoint fit to be given to others: NAME-VERSION.safetensors, and the entry for conf/models.yaml.

python scripts/release.py CHECKPOINT NAME [--version 1] [--card TEXT] [--folder FOLDER]
"""

import argparse
import hashlib
from pathlib import Path

import yaml

from gains.models.checkpoint import read_checkpoint
from gains.models.release import release

MEGABYTES = 26
"""A released file is at most that large."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--card", default="", help="one line: data, licence, steps, figures, what it fails at")
    parser.add_argument("--folder", type=Path, default=Path("gains/weights"))
    arguments = parser.parse_args()
    path = arguments.folder / f"{arguments.name}-{arguments.version}.safetensors"
    release(read_checkpoint(arguments.checkpoint), path)
    content = path.read_bytes()
    entry = {
        "name": arguments.name,
        "version": arguments.version,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "card": arguments.card,
    }
    print(yaml.safe_dump([entry], sort_keys=False))
    print(f"{path}: {len(content) / 1e6:.1f} MB")
    if len(content) > MEGABYTES * 1e6:
        path.unlink()
        raise SystemExit(f"more than {MEGABYTES} MB: train a smaller model (model/size=small, or thinner heads)")


if __name__ == "__main__":
    main()
