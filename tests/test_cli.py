import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gains import cli
from gains.config import compose
from gains.errors import InputError
from gains.settings import command_help
from gains.tasks.trainer import build_trainer
from gains.typed import with_trainer_arguments


def test_usage_names_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gains", "--help"])
    cli.main()
    text = capsys.readouterr().out
    assert all(command in text for command in cli.COMMANDS)


def test_unknown_command_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gains", "trian"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "'trian' is no command" in capsys.readouterr().err


MISTYPED = (["train", "augmentatoin=flip"], ["train", "trainer.maxsteps=3"], ["train", "model=gians"])


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS), *MISTYPED])
def test_help_version_and_mistyped_arguments_need_no_torch(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys, atexit; from gains.cli import main; "
        "atexit.register(lambda: print('LOADED', 'torch' in sys.modules)); main()"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert "LOADED False" in done.stdout, done.stderr
    assert done.returncode == (2 if words in MISTYPED else 0)
    assert not list(tmp_path.iterdir())


def test_help_lists_settings_with_defaults_descriptions_and_the_chosen_option() -> None:
    text = command_help("train", ["model=htc"])
    line = next(line for line in text.splitlines() if line.startswith("  batch_size="))
    assert line.split(maxsplit=1) == ["batch_size=4", "images per step and device"]
    assert "  trainer.max_steps=300" in text
    assert "  dataset.gamm.window=5 " in text
    assert "pixels to which images are scaled" in next(
        line for line in text.splitlines() if line.startswith("  dataset.short_side=192")
    )
    assert "model=htc " in text
    assert "  model.name=htc" in text
    assert "now:" not in text


def trainer_with(argument: str) -> Any:
    config = compose("train", "logger=csv", *with_trainer_arguments("train", [f"trainer.{argument}"]))
    config.callbacks = {}
    return build_trainer(config, Path("."))


def test_arguments_of_the_trainer_need_no_plus() -> None:
    assert trainer_with("limit_train_batches=3").limit_train_batches == 3
    with pytest.raises(InputError, match="limit_trian_batches is no setting"):
        trainer_with("limit_trian_batches=3")


def test_other_commands_refuse_what_they_do_not_have() -> None:
    assert with_trainer_arguments("score", ["trainer.profiler=simple"]) == ["trainer.profiler=simple"]
