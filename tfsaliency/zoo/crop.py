import numpy as np


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
