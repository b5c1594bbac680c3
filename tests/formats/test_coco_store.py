"""Annotations that lie in a file come back as they were, by image."""

import random

import pytest

from gains.formats import spool
from gains.formats.coco_ids import Id
from gains.formats.coco_store import CocoAnnotation, CocoAnnotations

SIZES: dict[Id, tuple[int, int]] = {7: (20, 30), "slide a": (8, 8), 3: (50, 7)}


def annotation(draw: random.Random) -> CocoAnnotation:
    image = draw.choice([7, 3])
    box = draw.choice([None, [1.5, 2.0, 3.25, 1e-9]])
    extra = draw.choice([{}, {"iscrowd": 1, "note": "gr\u00fcn \ud800", "of": [1, {"x": None}]}])
    mask = {"size": list(SIZES[image]), "counts": draw.choice(["abc", "0", "x\\y"])}
    return CocoAnnotation(image, draw.choice(["cell", "z\u00e9ro"]), mask, box, draw.random() < 0.3, extra)


@pytest.mark.parametrize("in_memory", [0, 100, 2**26])
def test_what_is_kept(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", in_memory or 1)
    draw = random.Random(3)
    added = [annotation(draw) for _ in range(200)]
    kept = CocoAnnotations(SIZES)
    for each in added:
        kept.add(each)
    assert len(kept) == 200
    assert kept.of("slide a") == []
    assert kept.of(3) == [each for each in added if each.image == 3]
    assert kept.of(7) == [each for each in added if each.image == 7]
    assert kept.of(3) == [each for each in added if each.image == 3]
    assert kept.crowds == sum(each.crowd for each in added)
    distinct = {(each.image, each.category, each.mask["counts"]) for each in added}
    assert kept.repeated() == 200 - len(distinct) > 0


def test_nothing_is_kept() -> None:
    none = CocoAnnotations(SIZES)
    assert (len(none), none.of(7), none.crowds, none.repeated()) == (0, [], 0, 0)
