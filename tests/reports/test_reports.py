"""Reports as a parser reads them: well formed, self-contained, nothing of an image's name taken for HTML."""

import base64
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gains.data.dataset import InstanceDataset
from gains.images.raster import ArrayRaster
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.prediction.predictor import Predictor
from gains.prediction.records import Record, make_record, read_records, write_record
from gains.reports.evaluation import write_evaluation_report
from gains.reports.html import curves, histogram, number
from gains.reports.prediction import MAX_PICTURES, summarise, write_prediction_report
from gains.rle import encode_crop
from helpers.annotated import write_annotations

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks nesting; keeps sources of pictures, captions, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data + " "
            if self.open[-2:] == ["figcaption", "b"]:
                self.captions.append(data)


@pytest.fixture
def record(predictor: Callable[..., Predictor]) -> Record:
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:15, 5:15, 0] = image[10:20, 10:20, 1] = 255
    return make_record("a<b>&c", "a.png", predictor(tile=64).predict(image), ArrayRaster(image))


def test_prediction_report(tmp_path: Path, record: Record) -> None:
    write_record(tmp_path, record)
    assert list(read_records(tmp_path, 1)) == [record]
    assert list(read_records(tmp_path, 0)) == [replace(record, plain="", drawn="")]
    many = replace(record, name='x, "plain": "', source="\\", scores=[0.5] * 3000)
    write_record(tmp_path / "many", many)
    assert list(read_records(tmp_path / "many", 0)) == [replace(many, plain="", drawn="")]
    settings = {"model": "gains", "checkpoint": "best.ckpt", "pixel_size_um": 0.5}
    write_prediction_report(tmp_path / "report.html", summarise([record]), settings, ["bad<script>.png is damaged"])
    page = Page((tmp_path / "report.html").read_text())
    assert page.captions == ["a<b>&c"]
    assert page.tags.count("script") == 1
    assert "bad<script>.png is damaged" in page.text
    assert "25 " in page.text  # 100 pixels of 0.5 µm
    # Red and green overlap, but are of two categories.
    assert "0% overlap another of their category" in page.text
    assert [name for name in record.categories if name in page.text] == ["nucleus", "cytoplasm"]
    assert len(page.sources) == 2
    for source in page.sources:
        assert source.startswith("data:image/webp;base64,")
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1] / picture.shape[0] == pytest.approx(60 / 40)


def test_one_record_is_held_at_a_time(record: Record) -> None:
    given: list[weakref.ref[Record]] = []
    held: list[int] = []

    def records() -> Iterator[Record]:
        for index in range(MAX_PICTURES + 20):
            held.append(sum(each() is not None for each in given))
            made = replace(record, name=str(index))
            given.append(weakref.ref(made))
            yield made
            del made

    found = summarise(records())
    assert max(held) <= 1
    assert [image.name for image in found.images] == [str(index) for index in range(MAX_PICTURES + 20)]
    assert len(found.figures) == MAX_PICTURES
    # What is kept of instances are their areas and scores, and how often each occurs.
    times = Counter(record.areas * (MAX_PICTURES + 20))
    assert sum((each.areas for each in found.categories.values()), Counter()) == times


def test_prediction_report_without_any_image(tmp_path: Path) -> None:
    write_prediction_report(tmp_path / "report.html", summarise([]), {}, [])
    Page((tmp_path / "report.html").read_text())


def test_evaluation_report_shows_the_worst_first(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    mask = np.ones((10, 10), bool)
    truth = encode_crop(mask, (10, 10, 20, 20), (40, 40))
    moved = encode_crop(mask, (30, 30, 40, 40), (40, 40))
    objects, predictions = {}, []
    evaluator = InstanceSegmentationEvaluator({1: "cell"})
    for number_, (name, found) in enumerate({"good": [truth], "wrong": [moved], "half": [truth, moved]}.items(), 1):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((40, 40), 90, np.uint8))
        objects[name] = [{"segmentation": truth, "label": 1}]
        entries: list[dict[str, Any]] = [
            {"image_id": number_, "category_id": 1, "score": 0.9, "segmentation": rle} for rle in found
        ]
        predictions += entries
        scores, labels = [0.9] * len(found), [1] * len(found)
        evaluator.update(
            [{"scores": scores, "labels": labels, "masks": found}],
            [{"image_id": number_, "labels": [1], "masks": [truth]}],
        )
    # Below the score threshold: neither shown nor counted.
    predictions.append({"image_id": 1, "category_id": 1, "score": 0.1, "segmentation": moved})
    annotations = write_annotations(tmp_path, dict.fromkeys(objects, (40, 40)), objects, ["cell"])
    dataset = InstanceDataset(annotations, list(objects))
    results = {**evaluator.compute(), "model": "gains", "split": "test"}
    results |= {"seed": 5, "costs": {"training_seconds": 61.5, "parameters": 123}}
    precision = {"cell": np.linspace(1, 0, 101)[None].repeat(10, axis=0)}
    path = write_evaluation_report(tmp_path, dataset, predictions, results, evaluator.per_image(), precision)
    page = Page(path.read_text())
    for part in ("precision over recall", "IoU of matched instances", "seed 5", "training seconds 61.5"):
        assert part in page.text
    assert page.captions == ["wrong", "half", "good"]
    notes = [page.text.count(f"ground truth: 1, {missed} missed") for missed in (0, 1)]
    assert notes == [2, 1]
    notes = [
        page.text.count(note) for note in ("prediction: 1, 0 false", "prediction: 1, 1 false", "prediction: 2, 1 false")
    ]
    assert notes == [1, 1, 1]
    assert len(page.sources) == 12


def test_curves_are_drawn_where_they_are_known() -> None:
    xs = np.array([0, 0.5, 1])
    drawn = curves({"a<b": (xs, np.array([1, 0.5, np.nan])), "c": (xs, np.full(3, np.nan))}, "recall", "precision")
    points = [line.split('"')[0] for line in drawn.split('points="')[1:]]
    assert points[1] == ""
    (x0, y0), (x1, y1) = ([float(number) for number in point.split(",")] for point in points[0].split())
    # From the top left corner half way to the right and half way down.
    assert (x0, y0) == (34, 12)
    assert x1 == (34 + (360 - 116)) / 2
    assert y1 == (12 + 118) / 2
    assert "a&lt;b" in drawn


def test_histogram_of_counts_has_a_bar_for_each() -> None:
    assert histogram([1, 2, 2, 5]).count("<rect") == 5
    assert histogram([3, 3, 3]).count("<rect") == 1
    assert histogram([0.5]).count("<rect") == 24
    assert histogram([]) == "<p>none</p>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345, "12,345"), (1234.5, "1,234"), (12.345, "12.3"), (0.01234, "0.012"), (float("nan"), "-"), (None, "-")],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text
