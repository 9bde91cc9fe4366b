"""Files of pictures from untrusted sources, checked before they are decoded; and their middle, in a wanted size."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MOST_BYTES = 100 * 2**20
MOST_PIXELS = 80_000_000


def read_photo(path: Path) -> np.ndarray:
    """Reads a photograph and turns it upright.

    Returns:
        RGB uint8, ``(height, width, 3)``; transparent pixels become white.

    Raises:
        ValueError: the file is not a picture of a known format, or it is too large; its header is read before it is
            decoded.
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
    """
    # Pillow comes with matplotlib.
    from PIL import Image, ImageOps

    if path.is_dir():
        ending = next((each.suffix for each in sorted(path.iterdir()) if each.suffix), ".jpg")
        raise IsADirectoryError(f"{str(path)!r} is a folder. Pass photos, such as {path}/*{ending}")
    if not path.is_file():
        raise FileNotFoundError(f"There is no photo {str(path)!r}")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes. At most {MOST_BYTES:,} are read.")
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{path} has {width} x {height} pixels. At most {MOST_PIXELS:,} are decoded.")
            return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} has too many pixels. At most {MOST_PIXELS:,} are decoded. {error}") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a picture of the formats {', '.join(FORMATS)}: {error}") from error


def centre_crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest centred part of the wanted proportions, resized by area averaging, ``(height, width, channels)``."""
    import cv2

    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    cropped: np.ndarray = cv2.resize(
        image[top : top + rows, left : left + columns],
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    return cropped


def _to_rgb(image: "Image.Image") -> np.ndarray:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow would cut it off at 255.
        grey = (np.asarray(image).astype("float64") / 257).round().clip(0, 255).astype("uint8")
        return np.repeat(grey[..., None], 3, axis=-1)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype("float32")
        share = rgba[..., 3:] / 255
        return (rgba[..., :3] * share + 255 * (1 - share)).round().astype("uint8")
    return np.asarray(image.convert("RGB"))
