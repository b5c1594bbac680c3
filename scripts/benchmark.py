"""Speed and memory, each as a ratio to a named baseline of the same run; ``method``: what GAInS adds to Mask R-CNN.

python scripts/benchmark.py gamm|metrics|train_step|inference|models|predict|stitching|nms
    [--output FILE] [--device cpu|cuda]
python scripts/benchmark.py method [--seeds 1,2,3] [--output FILE]
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
    "method": "benchmark_method",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("--output", type=Path, help="write the figures as json")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seeds", default="1,2,3", help="of method: one pair of runs for each")
    arguments = parser.parse_args()
    seeds = {"seeds": [int(seed) for seed in arguments.seeds.split(",")]} if arguments.name == "method" else {}
    importlib.import_module(MODULES[arguments.name]).main(arguments.output, arguments.device, **seeds)
