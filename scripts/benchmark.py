"""Speed and memory, each as a ratio to a named baseline of the same run.

python scripts/benchmark.py gamm|metrics|train_step|inference|models|predict|stitching|nms
    [--output FILE] [--device cpu|cuda]
"""

import argparse
import importlib
from pathlib import Path

MODULES = {
    "gamm": "benchmark_gamm",
    "metrics": "benchmark_metrics",
    "train_step": "benchmark_train_step",
    "inference": "benchmark_inference",
    "models": "benchmark_models",
    "predict": "benchmark_predict",
    "stitching": "benchmark_stitching",
    "nms": "benchmark_nms",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("--output", type=Path, help="write the figures as json")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    importlib.import_module(MODULES[arguments.name]).main(arguments.output, arguments.device)
