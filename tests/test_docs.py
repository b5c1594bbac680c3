"""What README.md and docs/ tell readers to type exists, and what they link to is there."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

from gains.cli import COMMANDS
from gains.config import compose
from gains.errors import InputError
from gains.renamed import refuse_renamed
from gains.typed import as_typed
from helpers.documented import PAGES, ROOT, Command, commands, jobs, links, shell

ADDED_BY_THE_READER = {"model=dice_rcnn"}
"""Options that a page shows how to make."""


def check(command: Command) -> None:
    """Compose the configuration of every run of a command.

    Raises:
        InputError: if a setting or an option does not exist.
    """
    refuse_renamed(command.name, command.words)
    words = as_typed(command.name, [word for word in command.words if word not in ADDED_BY_THE_READER])
    for job in jobs(words):
        compose(command.name, *job)


@pytest.mark.parametrize("command", commands(), ids=str)
def test_settings_and_options_of_documented_commands_exist(command: Command) -> None:
    if command.name in COMMANDS:
        check(command)
    else:
        assert not command.words, f"gains has no command {command.name}"


@pytest.mark.parametrize("words", ["model=no_such_model", "no_such_setting=1", "-m model=gains,no_such_model"])
def test_a_wrong_command_would_be_noticed(words: str) -> None:
    with pytest.raises(InputError, match="no_such"):
        check(Command("a page", "train", tuple(words.split())))


def test_commands_are_found_wherever_they_stand() -> None:
    found = [str(command) for command in commands()]
    assert "docs/settings.md: gains train -m sweep=ablation" in found
    assert (
        "docs/scaling.md: gains train trainer=ddp +trainer.num_nodes=2" in found
    )  # a line that goes on, behind torchrun
    assert "docs/scaling.md: gains sweep trainer=gpu trials=60 output=outputs/sweep/first" in found  # in a loop
    assert len(found) > 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_make_targets_on_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for script in re.findall(r"scripts/\w+\.\w+", text):
        assert (ROOT / script).is_file(), script
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", shell(page), re.MULTILINE)) <= targets
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, section = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if section:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def test_every_page_is_in_the_navigation_of_the_site_and_links_stay_within_it() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def pages(entries: list[dict[str, object]]) -> list[str]:
        found = []
        for entry in entries:
            [target] = entry.values()
            found += pages(target) if isinstance(target, list) else [str(target)]
        return found

    documented = [page for page in PAGES if page.parent.name == "docs"]
    assert sorted(pages(site["nav"])) == [page.name for page in documented]
    assert not [link for page in documented for link in links(page) if link.startswith("..")]


def test_docstrings_are_shown_in_markdown() -> None:
    pytest.importorskip("griffe")
    markdown = runpy.run_path(str(ROOT / "scripts" / "site_docstrings.py"))["markdown"]
    text = (
        "See :class:`~gains.masks.InstanceCrops`.\n\n>>> double(4)  # doctest: +SKIP\n8\n\nArgs:\n    a: :func:`b`.\n"
    )
    assert markdown(text) == (
        "See `gains.masks.InstanceCrops`.\n\n```python\ndouble(4)\n# 8\n```\n\nArgs:\n    a: `b`.\n"
    )


def test_every_step_of_the_architecture_picture_exists() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "figure_architecture.py"))
    assert all(script["first_line"](step) for steps in script["FLOWS"].values() for step in steps)
