"""The benchmark for a GPU, on the processor with tiny sizes, so that it works when a GPU is there."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_gpu
from benchmark_models import model_names


def test_what_is_done_is_not_done_again_and_what_failed_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, ran = tmp_path / "gpu.json", list[str]()
    fails = {"ddp"}

    def run_piece(name: str, device: str, tiny: bool) -> dict[str, Any]:
        ran.append(name)
        return {"seconds": 1.0, "failed": "exit status 1" if name in fails else None, "rows": []}

    monkeypatch.setattr(benchmark_gpu, "run_piece", run_piece)
    with pytest.raises(SystemExit):
        benchmark_gpu.main(file)
    assert ran == list(benchmark_gpu.pieces())
    assert {"model_mask_rcnn", "model_fastinst", "precision", "predict", "method"} <= set(ran)
    fails.clear()
    benchmark_gpu.main(file)
    assert ran[len(benchmark_gpu.pieces()) :] == ["ddp"]
    with pytest.raises(SystemExit, match="choose another file"):
        benchmark_gpu.main(file, tiny=True)
    with pytest.raises(SystemExit, match="gam is unknown"):
        benchmark_gpu.main(file, chosen="gam")


def test_a_piece_that_takes_too_long_is_ended() -> None:
    begin = time.monotonic()
    found = benchmark_gpu.run_piece("method", "cpu", True, limit=0.5)
    assert found["failed"] == "not done in 0.5 s"
    assert found["rows"] == []
    assert time.monotonic() - begin < benchmark_gpu.PATIENCE


@pytest.mark.slow
@pytest.mark.parametrize("name", model_names())
def test_all_models_are_measured(name: str) -> None:
    [row] = benchmark_gpu.model(name, "cpu", tiny=True)
    assert row["model"] == name
    assert row["train s"] > 0
    assert row["inference s"] > 0


@pytest.mark.slow
def test_all_other_pieces_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["gamm", "precision", "train", "ddp", "predict", "method"]
    benchmark_gpu.main(tmp_path / "gpu.json", "cpu", tiny=True, chosen=",".join(names))
    found = json.loads((tmp_path / "gpu.json").read_text())["pieces"]
    assert {name: piece["failed"] for name, piece in found.items()} == dict.fromkeys(names)
    assert found["gamm"]["rows"][-1]["what"] == "slow reference"
    losses = [row["loss / float32"] for row in found["precision"]["rows"]]
    assert losses == pytest.approx([1] * len(losses), rel=0.05)
    assert [row["processes"] for name in ("train", "ddp") for row in found[name]["rows"]] == [1, 2, 4]
    assert all(0 < row["network busy"] <= 1 for row in found["predict"]["rows"])
    assert [row["metric"] for row in found["method"]["rows"]] == ["segm_map", "segm_map_50", "aji"]
