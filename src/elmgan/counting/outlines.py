"""The outlines of separated cells along the edges of their pixels, as polygons with holes."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int32]
"""(vertex, 2): row and column of corners of pixels, the image's upper left corner being (0, 0); not closed."""

Polygon = list[Ring]
"""The ring round it, then those round its holes."""

BEGINS = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], np.int32)
"""Where an edge of a pixel begins. They are its upper, right, lower and left one, and go round it clockwise."""

PIXELS_LOOKED_AT = 2**20
"""Pixels whose edges are looked for at a time."""


def outlines_of(labels: NDArray[np.uint32]) -> Iterator[tuple[int, list[Polygon]]]:
    """Give each cell of a label image with its polygons, in the order of their numbers.

    The polygons have the very area of the cell's pixels. Pixels that touch at a corner alone are in different polygons,
    so that no ring touches or crosses itself: a cell has several only where it hangs together by such corners, or not
    at all. With x to the right and y downwards, rings have a positive area and those round holes a negative one, which
    is the right-hand rule of GeoJSON.

    Args:
        labels: (row, column), 0 = background; not every number needs to be there.

    >>> ring = np.ones((3, 3), np.uint32)
    >>> ring[1, 1] = 0
    >>> [(number, [[part.tolist() for part in polygon] for polygon in of]) for number, of in outlines_of(ring)]
    [(1, [[[[0, 0], [0, 3], [3, 3], [3, 0]], [[1, 2], [1, 1], [2, 1], [2, 2]]]])]
    """
    for number, rings, whole in _traced(labels):
        if whole:
            yield number, [rings]
            continue
        corners = np.concatenate(rings)
        top, left = corners.min(axis=0)
        bottom, right = corners.max(axis=0)
        cell = (labels[top:bottom, left:right] == number).astype(np.uint8)
        _, parts = cv2.connectedComponents(cell, connectivity=4)
        offset = np.array([top, left], np.int32)
        yield number, [[ring + offset for ring in of] for _, of, _ in _traced(parts.astype(np.uint32))]


def _traced(labels: NDArray[np.uint32]) -> Iterator[tuple[int, list[Ring], bool]]:
    """Give the rings of each cell, the one with its first pixel first, and whether all of it hangs together by sides.

    Pixels that touch at a corner are taken to hang together. So the rings of a cell are right if all of it hangs
    together by its sides: then one goes round it, the others round its holes, and none meets itself.
    """
    around = np.pad(labels, 1)
    width = around.shape[1]
    flat = around.ravel()
    keys = _edges(flat, width)
    owner = flat[keys >> 2]
    following, pinched = _following(keys, owner, flat, width)
    corners, sizes = _followed(keys, owner, following)
    if not len(sizes):
        return
    keys_there = keys[corners]
    places = np.stack(np.divmod(keys_there >> 2, width), axis=1).astype(np.int32) - 1 + BEGINS[keys_there & 3]
    row, column = places.T.astype(np.int64)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    cells = owner[corners[begins]]
    onward = np.arange(1, len(places) + 1)
    onward[ends - 1] = begins
    area = np.add.reduceat(column * row[onward] - column[onward] * row, begins)
    in_parts = {*owner[pinched].tolist(), *cells[1:][(cells[1:] == cells[:-1]) & (area[1:] > 0)].tolist()}
    rings = (places[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True))
    for number, of in groupby(zip(cells.tolist(), rings, strict=True), key=itemgetter(0)):
        yield number, [ring for _, ring in of], number not in in_parts


def _edges(flat: NDArray[np.uint32], width: int) -> NDArray[np.int64]:
    """Number the edges where pixels of cells meet others: index of the pixel times 4, plus which of its edges it is."""
    found = [np.zeros(0, np.int64)]
    for start in range(width, flat.size - width, PIXELS_LOOKED_AT):
        end = min(start + PIXELS_LOOKED_AT, flat.size - width)
        here = flat[start:end]
        outside = [flat[start + step : end + step] != here for step in (-width, 1, width, -1)]
        pixels = np.flatnonzero((outside[0] | outside[1] | outside[2] | outside[3]) & (here != 0))
        edges = np.flatnonzero(np.stack([side[pixels] for side in outside], axis=1))
        found.append((pixels[edges >> 2] + start) * 4 + (edges & 3))
    return np.concatenate(found)


def _following(
    keys: NDArray[np.int64], owner: NDArray[np.uint32], flat: NDArray[np.uint32], width: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Give the edge that goes on where each ends, and whether two pixels of the cell touch there at a corner.

    Where an edge ends there are two pixels ahead. If the cell has the left one, the line turns left, round what is
    outside; else it goes straight on if the cell has the right one, and turns right if not.
    """
    pixel, way = keys >> 2, keys & 3
    ahead = np.array([1, width, -1, -width])[way]
    aside = np.array([-width, 1, width, -1])[way]
    left, right = flat[pixel + ahead + aside] == owner, flat[pixel + ahead] == owner
    onward = np.where(left, pixel + ahead + aside, np.where(right, pixel + ahead, pixel))
    turned = np.where(left, way + 3, np.where(right, way, way + 1)) & 3
    return np.searchsorted(keys, onward * 4 + turned), left & ~right


def _followed(
    keys: NDArray[np.int64], owner: NDArray[np.uint32], following: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Follow the edges round, cell by cell; give those after a turn, and how many of them each ring has.

    All rings at once: what an edge points to is looked up there again and again, so that each round goes twice as far.
    """
    way = keys & 3
    turned = np.zeros(len(keys), np.bool_)
    turned[following[way[following] != way]] = True
    ahead = following
    while not turned[ahead].all():  # on to the next one after a turn
        ahead = np.where(turned[ahead], ahead, ahead[ahead])
    corners = np.flatnonzero(turned)
    corners = corners[np.argsort(owner[corners], kind="stable")]
    number = np.empty(len(keys), np.intp)
    number[corners] = np.arange(len(corners))
    onward = number[ahead[corners]]
    first, jump = np.minimum(np.arange(len(corners)), onward), onward
    while True:  # the first corner of each ring
        jump = jump[jump]
        sooner = np.minimum(first, first[jump])
        if np.array_equal(sooner, first) and np.array_equal(first[onward], first):
            break
        first = sooner
    begins = first == np.arange(len(corners))
    before = np.empty_like(onward)
    before[onward] = np.arange(len(corners))
    before[begins] = np.flatnonzero(begins)
    steps = np.where(begins, 0, 1)  # from the first corner of its ring
    while not begins[before].all():
        steps, before = steps + steps[before], before[before]
    sizes = np.bincount(first, minlength=len(corners))
    place = (np.cumsum(sizes) - sizes)[first] + steps
    ordered = np.empty_like(corners)
    ordered[place] = corners
    return ordered, sizes[sizes > 0]
