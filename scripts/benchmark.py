"""Speed and memory, each as a ratio to a named baseline of the same run; ``method``: what GAInS adds to Mask R-CNN.

python scripts/benchmark.py gamm|metrics|train_step|inference|models|predict|pipeline|estimate|data|stitching|nms|
    dense|mosaic|scale
        [--output FILE] [--device cpu|cuda]
python scripts/benchmark.py pipeline [--images 300]
python scripts/benchmark.py mosaic [--data PREPARED] [--checkpoint cells]   # of images of your own
python scripts/benchmark.py gpu [--device cuda] [--tiny] [--pieces gamm,ddp] [--output FILE]   # goes on with the file
python scripts/benchmark.py data|scaling [--scales 1,10,100,1000] [--output FILE]
python scripts/benchmark.py crops [--seeds 1,2,3] [--output FILE]   # large images shrunk, and cropped
python scripts/benchmark.py method [--seeds 1,2,3] [--output FILE]
python scripts/benchmark.py finetune [--data FOLDER] [--sets isbi2014,chromosomes] [--counts 1,5,all] [--seeds 1]
python scripts/benchmark.py anchor [--steps 500] [--output FILE]   # beside a plain torchvision Mask R-CNN
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
    "pipeline": "benchmark_pipeline",
    "estimate": "benchmark_estimate",
    "data": "benchmark_data",
    "scaling": "benchmark_scaling",
    "stitching": "benchmark_stitching",
    "nms": "benchmark_nms",
    "dense": "benchmark_dense",
    "mosaic": "benchmark_mosaic",
    "scale": "benchmark_scale",
    "crops": "benchmark_crops",
    "gpu": "benchmark_gpu",
    "method": "benchmark_method",
    "anchor": "benchmark_anchor",
    "finetune": "benchmark_finetune",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("--output", type=Path, help="write the figures as json")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--scales", default="1,10,100", help="of data and scaling: how many times the 100 images")
    parser.add_argument("--seeds", default="1,2,3", help="of method, crops, finetune: one pair of runs for each")
    parser.add_argument("--sets", default="isbi2014,unseen_nuclei,chromosomes", help="of finetune: which data sets")
    parser.add_argument("--counts", default="0,1,2,5,10,20,all", help="of finetune: how many images are learned from")
    parser.add_argument("--images", type=int, default=100, help="of pipeline: how many are predicted")
    parser.add_argument("--steps", type=int, default=500, help="of anchor: its training steps; ours get the same time")
    parser.add_argument("--tiny", action="store_true", help="of gpu: sizes for a processor, only to see that it runs")
    parser.add_argument("--pieces", help="of gpu: which, such as gamm,ddp; all that are not in the file yet by default")
    parser.add_argument(
        "--data",
        type=Path,
        help="of mosaic: prepared data set of square images of one size; of finetune: folder of prepared data sets "
        "(without it the figure alone is drawn)",
    )
    parser.add_argument("--checkpoint", default="cells@1", help="of mosaic: model that knows its categories")
    arguments = parser.parse_args()
    sizes = {"scales": tuple(int(scale) for scale in arguments.scales.split(","))}
    own = {
        "mosaic": {"data": arguments.data, "checkpoint": arguments.checkpoint},
        "gpu": {"tiny": arguments.tiny, "chosen": arguments.pieces},
        "pipeline": {"images": arguments.images},
        "data": sizes,
        "scaling": sizes,
        "method": {"seeds": [int(seed) for seed in arguments.seeds.split(",")]},
        "crops": {"seeds": [int(seed) for seed in arguments.seeds.split(",")]},
        "finetune": {
            "data": arguments.data,
            "sets": arguments.sets.split(","),
            "counts": arguments.counts.split(","),
            "seeds": [int(seed) for seed in arguments.seeds.split(",")],
        },
        "anchor": {"steps": arguments.steps},
    }
    importlib.import_module(MODULES[arguments.name]).main(
        arguments.output, arguments.device, **own.get(arguments.name, {})
    )
