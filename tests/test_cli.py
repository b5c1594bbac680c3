import subprocess
import sys
from pathlib import Path

import pytest

from gains import cli


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


def test_bad_input_ends_with_a_message_and_no_stack_trace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gains.cli", "eval", "checkpoint=nowhere.ckpt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "checkpoint=nowhere.ckpt does not exist" in done.stderr
    assert "Traceback" not in done.stderr
