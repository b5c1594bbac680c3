"""How images are read: the choices a user can make, and what reading had to tell."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gains.errors import InputError
from gains.images.intensity import Intensity, check_intensity
from gains.images.notes import Notes

MAX_CHANNELS = 3

MAX_PIXELS = 200_000_000
"""About 14,000 x 14,000: decoded in one piece it takes 0.2 to 1.2 GB."""


@dataclass(frozen=True)
class ReadOptions:
    """Choices for reading images, the same in every command.

    Attributes:
        channels: indices from 0 of one channel (gray) to three (red, green, blue); None takes gray or RGB as it is.
        intensity: which values become 0 and 1, see :func:`gains.images.intensity.value_range`.
        max_pixels: most pixels that are decoded in one piece. Tiles and strips of TIFF files are pieces; other files
            are one.
        prefix: what stands before the names of these settings on the command line, such as ``dataset.``.
        notes: what reading had to tell; filled by it.
        pixel_sizes: side of the pixels in micrometres of the images that say it, by name; filled by reading them whole.

    Raises:
        InputError: for no channel or more than three, an unknown intensity, or a limit that is no positive number.
    """

    channels: Sequence[int] | None = None
    intensity: Intensity = "full_range"
    max_pixels: int = MAX_PIXELS
    prefix: str = ""
    notes: Notes = field(default_factory=Notes, compare=False)
    pixel_sizes: dict[str, float] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        channels = self.channels
        if channels is not None and (
            isinstance(channels, (str, int))
            or not 1 <= len(channels) <= MAX_CHANNELS
            or any(isinstance(index, bool) or not isinstance(index, int) for index in channels)
        ):
            shown = channels if isinstance(channels, (str, int)) else list(channels)
            raise InputError(
                f"{self.setting('channels')}={shown} must name one channel (gray) to three (red, green, blue), as [0]"
            )
        check_intensity(self.intensity, self.setting("intensity"))
        if isinstance(self.max_pixels, bool) or not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise InputError(f"{self.setting('max_pixels')}={self.max_pixels} must be a whole number of pixels from 1")

    def setting(self, name: str) -> str:
        """What a user calls a setting."""
        return self.prefix + name
