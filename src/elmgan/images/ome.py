"""OME-XML in a TIFF: what is written there of the pages of this very file, and of no other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, fromstring

from elmgan.errors import ImageError
from elmgan.images.pixel_size import micrometres


@dataclass(frozen=True)
class OmeImage:
    """One image of the XML, as far as this file holds it.

    Attributes:
        name: Of the image; empty where it has none.
        axes: Order of the axes outside the page, slowest first: some order of T, Z and C.
        positions: Of each axis, those that this file holds, sorted.
        pages: Indices of pages by their position along the axes.
        channels: Names of the channels that are held; empty where they are not known.
        samples: Samples per pixel that make one channel.
        pixel_size: x, y and z -> micrometres.
    """

    name: str
    axes: str
    positions: tuple[tuple[int, ...], ...]
    pages: Mapping[tuple[int, ...], int]
    channels: tuple[str, ...]
    samples: int
    pixel_size: Mapping[str, float]


def read_ome(xml: str, file_name: str, pages: int, samples: int) -> list[OmeImage]:
    """Find the images whose pixels lie in this file; an XML that says nothing of them gives none.

    Args:
        xml: From the file's first page.
        file_name: By which the XML may know this file among others.
        pages: How many the file has.
        samples: Per pixel of the first page.

    Raises:
        ImageError: The XML maps more planes than there are pages.
    """
    try:
        root = fromstring(xml)
    except ParseError:
        return []
    own = _own_file(root, file_name)
    if own is None:
        return []
    found = []
    mapped = 0
    for image in _children(root, "Image"):
        for pixels in _children(image, "Pixels"):
            each = _image(image, pixels, own, pages, samples)
            if each is not None:
                found.append(each)
                mapped += len(each.pages)
    if mapped > 2 * pages:
        raise ImageError(f"is damaged: its OME-XML maps {mapped:,} planes to {pages:,} pages; save it again")
    return found


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == name)


@dataclass(frozen=True)
class _OwnFile:
    """How to know the entries of this file: all of them, or by one of its names."""

    uuid: str | None = None
    name: str | None = None

    def has(self, data: Element) -> bool:
        uuid = next(_children(data, "UUID"), None)
        if uuid is None or self == _OwnFile():
            return True
        return _file_name(uuid) == self.name if self.name else (uuid.text or "").strip() == self.uuid


def _file_name(uuid: Element) -> str:
    return uuid.get("FileName", "").replace("\\", "/").rpartition("/")[2].casefold()


def _own_file(root: Element, file_name: str) -> _OwnFile | None:
    """Find out how this file is called in the XML: by its name, else by the UUID, or without a name if it is alone."""
    uuids = [
        uuid
        for image in _children(root, "Image")
        for pixels in _children(image, "Pixels")
        for data in _children(pixels, "TiffData")
        for uuid in _children(data, "UUID")
    ]
    names = {(uuid.text or "").strip() for uuid in uuids}
    if len(names) <= 1 and len({_file_name(uuid) for uuid in uuids}) <= 1:
        return _OwnFile()
    if file_name.casefold() in {_file_name(uuid) for uuid in uuids}:
        return _OwnFile(name=file_name.casefold())
    return _OwnFile(uuid=root.get("UUID")) if root.get("UUID") in names else None


def _image(image: Element, pixels: Element, own: _OwnFile, pages: int, samples: int) -> OmeImage | None:
    axes = pixels.get("DimensionOrder", "XYCZT")[2:][::-1]
    if sorted(axes) != ["C", "T", "Z"]:
        return None
    sizes = {axis: _whole(pixels, f"Size{axis}", 1) for axis in axes}
    channels = list(_children(pixels, "Channel"))
    together = max((_whole(channel, "SamplesPerPixel", 1) for channel in channels), default=1)
    if together <= 1 < samples and sizes["C"] % samples == 0 and sizes["C"] * sizes["Z"] * sizes["T"] > pages:
        together = samples  # that are the channels, though the XML does not say so
    together = max(together, 1)
    sizes["C"] = -(-sizes["C"] // together)
    planes: dict[tuple[int, ...], int] = {}
    mapped = 0
    for data in _children(pixels, "TiffData"):
        if own.has(data):
            for position, page in _planes(data, axes, sizes, together, pages):
                planes.setdefault(position, page)
                mapped += 1
            if mapped > 2 * pages:
                raise ImageError(f"is damaged: its OME-XML maps one image to more than {pages:,} pages; save it again")
    if not planes:
        return None
    positions = tuple(tuple(sorted(set(along))) for along in zip(*planes, strict=True))
    names = [channel.get("Name", "") or channel.get("ID", "") for channel in channels]
    if together == 1:
        held = positions[axes.index("C")]
        names = [names[index] for index in held] if held[-1] < len(names) else []
    elif len(names) != sizes["C"] * together:
        names = []
    return OmeImage(
        image.get("Name", ""), axes, positions, planes, tuple(names) if all(names) else (), together, _sizes(pixels)
    )


def _whole(element: Element, name: str, otherwise: int) -> int:
    text = element.get(name, "")
    return min(int(text[:18]), 2**48) if text.isdecimal() and text.isascii() else otherwise


def _planes(
    data: Element, axes: str, sizes: dict[str, int], together: int, pages: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Positions and indices of pages that one entry gives; planes follow each other with the last axis fastest."""
    page = _whole(data, "IFD", 0)
    number = _whole(data, "PlaneCount", _whole(data, "NumPlanes", 1 if "IFD" in data.attrib else pages))
    index = 0
    for axis in axes:
        first = _whole(data, f"First{axis}", 0)
        if axis == "C" and first >= sizes["C"]:
            first //= together  # some writers count samples
        index = index * max(sizes[axis], 1) + first
    last = max(sizes["C"], 1) * max(sizes["Z"], 1) * max(sizes["T"], 1)
    for step in range(max(min(number, pages - page, last - index), 0)):
        rest = index + step
        position = []
        for axis in reversed(axes):
            rest, along = divmod(rest, max(sizes[axis], 1))
            position.append(along)
        yield tuple(reversed(position)), page + step


def _sizes(pixels: Element) -> dict[str, float]:
    sizes = {}
    for axis in "xyz":
        unit = pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm").casefold()
        sizes[axis] = micrometres(pixels.get(f"PhysicalSize{axis.upper()}"), unit)
    return {axis: size for axis, size in sizes.items() if size}
