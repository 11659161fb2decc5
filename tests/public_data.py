"""Public data sets in small, in their real layout."""

from pathlib import Path

import cv2
import numpy as np

from elmgan.images import write_mask


def write_bbbc005(folder: Path) -> None:
    """BBBC005: three columns with as many cells, three sites, two stains in focus, and one of them blurred."""
    (folder / "BBBC005_v1_images").mkdir(parents=True)
    for column, site in ((column, site) for column in (1, 2, 3) for site in (1, 5, 7)):
        rng = np.random.default_rng([column, site])
        mask = np.zeros((64, 72), np.uint8)
        for row, left in rng.integers(8, 56, (column, 2)).tolist():
            cv2.circle(mask, (left, row), 5, 1, -1)
        for stain, focus in ((1, 1), (2, 1), (1, 5)):
            name = f"SIMCEPImages_A{column:02d}_C{column}_F{focus}_s{site:02d}_w{stain}.TIF"
            image = 100 + 100 * mask + rng.integers(0, 20, mask.shape).astype(np.uint8)
            cv2.imwrite(str(folder / "BBBC005_v1_images" / name), image)
            if focus == 1:  # masks are published of the images in focus
                write_mask(folder / "BBBC005_v1_ground_truth" / name, mask > 0)
