import pytest

from gains import cli
from gains.config import compose
from gains.errors import InputError
from gains.renamed import BY_COMMAND, RENAMED, refuse_renamed


@pytest.mark.parametrize("old", RENAMED)
def test_old_names_are_refused_with_the_new_one(old: str) -> None:
    with pytest.raises(InputError, match=f"{old} is now called {RENAMED[old]}"):
        refuse_renamed("train", ["batch_size=2", f"{old}=3"])
    refuse_renamed("train", [f"{RENAMED[old]}=3"])


def test_new_names_exist() -> None:
    for command, names in {"train": RENAMED, **BY_COMMAND}.items():
        for new in names.values():
            compose(command, f"{new}=null")


def test_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gains", "eval", "checkpoint=x.ckpt", "dataset.max_detections=4"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "gains eval: dataset.max_detections is now called max_detections\n"
