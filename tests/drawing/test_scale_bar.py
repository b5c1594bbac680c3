import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gains.drawing import font_of
from gains.drawing.scale_bar import SHARE, add_scale_bar, bar_length, round_down


@pytest.mark.parametrize(
    ("longest", "pixel", "pixels", "text"),
    [
        (100, None, 100, "100 px"),
        (99, None, 50, "50 px"),
        (0.4, None, 1, "1 px"),
        (100, 0.5, 100, "50 µm"),
        (100, 0.65, 50 / 0.65, "50 µm"),
        (300, 10, 200, "2 mm"),
        (100, 0.004, 50, "200 nm"),
    ],
)
def test_bars_have_round_lengths(longest: float, pixel: float | None, pixels: float, text: str) -> None:
    length, said = bar_length(longest, pixel)
    assert length == pytest.approx(pixels)
    assert said == text


@given(st.floats(1e-6, 1e9))
def test_rounding_down_gives_one_two_or_five_and_at_least_two_fifths(value: float) -> None:
    rounded = round_down(value)
    assert 0.399 * value < rounded <= value * 1.0001
    assert f"{rounded:.0e}"[0] in "125"


def test_the_bar_is_as_long_as_it_says() -> None:
    """A picture that shows each pixel of 0.25 µm threefold: a quarter of its width are 50 of them, or 12.5 µm."""
    picture = np.full((300, 600, 3), 90, np.uint8)
    drawn = add_scale_bar(picture, 3, 0.25)
    assert (picture == 90).all()
    changed = (drawn != 90).any(2)
    assert not changed[:250].any()
    assert not changed[:, : int(600 * (1 - SHARE)) - 12].any()
    rows = [row for row in drawn if (row == 255).all(1).sum() > 60]
    assert len(rows) in range(3, 6)
    assert {int((row == 255).all(1).sum()) for row in rows} == {10 / 0.25 * 3 + 1}


def test_tiny_pictures_have_no_room() -> None:
    picture = np.full((40, 90, 3), 9, np.uint8)
    np.testing.assert_array_equal(add_scale_bar(picture, 1), picture)


def test_the_font_has_all_letters_of_the_units() -> None:
    """What a font lacks is drawn as one and the same box."""
    lacking = font_of(40).getmask("\ue001").getbbox(), bytes(font_of(40).getmask("\ue001"))
    for letter in "µmnpx0123456789":
        assert (font_of(40).getmask(letter).getbbox(), bytes(font_of(40).getmask(letter))) != lacking
