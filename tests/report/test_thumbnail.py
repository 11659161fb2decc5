import numpy as np

from elmgan.report import thumbnail
from elmgan.report.thumbnail import THUMBNAIL_SIDE


def test_thumbnails_of_any_shape() -> None:
    for shape in [(1, 1), (1, 3000), (3000, 2), (THUMBNAIL_SIDE, THUMBNAIL_SIDE)]:
        grey, cells = np.ones(shape, dtype=np.float32), np.ones(shape, dtype=np.uint32)
        for picture in (thumbnail(grey), thumbnail(grey, cells > 0), thumbnail(grey, cells)):
            assert picture.startswith("data:image/jpeg;base64,")
