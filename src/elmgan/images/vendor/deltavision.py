"""DV of softWoRx and its relatives: one scene, whose planes lie one behind the other."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images.damage import damage_told
from elmgan.images.reader import Scene
from elmgan.images.scenes import SAVE_AS_TIFF, describe_scene
from elmgan.images.tile import Tile

MARK = slice(96, 98)
BYTE_ORDERS = {b"\xa0\xc0": "<", b"\xc0\xa0": ">"}
LARGEST_CODE = 7
"""Of the types of pixels."""


class DeltaVisionReader:
    """An open DV file."""

    kind = "DV"
    suffixes = frozenset({".dv", ".r3d"})
    in_parts = False

    @staticmethod
    def recognises(path: Path, start: bytes) -> bool:
        """Say whether a file is DV: it has a mark of two bytes, and a header that makes sense."""
        order = BYTE_ORDERS.get(start[MARK])
        if order is None:
            return False
        columns, rows, sections, code = struct.unpack(f"{order}4i", start[:16])
        return bool(min(columns, rows, sections) > 0 and 0 <= code <= LARGEST_CODE)

    def __init__(self, path: Path, axes: str | None) -> None:
        from mrc import DVFile

        with damage_told():
            self._file = DVFile(path)
            header = self._file.hdr
            if header.n_sections != header.nz * max(header.nt, 1) * max(header.nc, 1):
                raise ImageError(
                    f"has {header.n_sections} planes, which are not {header.nt} time points of {header.nc} channels; "
                    f"{SAVE_AS_TIFF}"
                )
            waves = (header.wave1, header.wave2, header.wave3, header.wave4, header.wave5)[: header.nc]
            self._axes = self._file.axes
            scene, _ = describe_scene(
                self._file.sizes,
                self._file.dtype,
                channels=[str(wave) for wave in waves] if all(waves) else [],
                pixel_size=self._file.voxel_size._asdict(),
            )
        self.scenes: Sequence[Scene] = (scene,)

    def read(self, scene: int, *, t: int, z: int, channel: int | None, region: Tile) -> NDArray:
        """Read a part of one plane."""
        where = {"T": t, "Z": z, "C": channel or 0}
        with damage_told():
            plane = self._file.data[tuple(where[axis] for axis in self._axes[:-2])]
            return np.array(region.of(plane), dtype=self.scenes[scene].dtype)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
