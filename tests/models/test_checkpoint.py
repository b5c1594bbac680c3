from pathlib import Path

import pytest
import torch

from gains.errors import InputError
from gains.models.checkpoint import load_module, read_checkpoint


def test_a_checkpoint_cannot_name_code_to_run(tmp_path: Path) -> None:
    recipe = {"network": {"_target_": "torch.nn.Sequential", "inner": [{"_target_": "os.system", "command": "true"}]}}
    recipe |= {"categories": ["cell"], "max_detections": 100}
    torch.save({"state_dict": {}, "gains": recipe}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil\.ckpt names 'os\.system'"):
        load_module(tmp_path / "evil.ckpt")


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.ckpt").write_bytes(b"PK\x03\x04 cut short")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"damaged\.ckpt cannot be read"):
        read_checkpoint(tmp_path / "damaged.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt was not written by gains train"):
        read_checkpoint(tmp_path / "other.ckpt")
