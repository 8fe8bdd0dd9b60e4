"""One way to open a picture: what engines, training, data, exports, servers and widgets see is the same.

A picture is named by the path of a file, also as a `file:` address, or by a `data:` URI. It is opened as RGB,
upright (EXIF orientation is applied once), transparent parts on white as qwen-vl-utils and vLLM do, 16-bit
grey scaled to 8 bits, and of an animation the first frame. Only decoders that merely decode are asked, sizes
are bounded before anything is unpacked, and what is no plain file is never read. A fault of the picture is a
PictureFault; one of the machine (no memory, too many open files) is left as it is: it says nothing about the
picture.
"""

from __future__ import annotations

import base64
import binascii
import errno
import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000
MAX_PICTURE_BYTES = 64 << 20
# The longer side over the shorter one; qwen-vl-utils refuses more.
MAX_RATIO = 200
# Pixels along the side of a visual token of Qwen2.5-VL: patches of 14, merged two by two.
TOKEN_SIDE = 28
# Formats whose decoders only decode: EPS, for one, starts another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_DATA_URI = re.compile(r"\s*data:[\w/+.*-]*(?:;\s*[\w-]+=[^;,]*)*;\s*base64,", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BASE64_OF_ADDRESSES = str.maketrans("-_", "+/", " \t\n\r\f\v")
ADVICE_ON_ADDRESSES = "is an address: save the picture and name its file"
# A longer name says no more.
_SHOWN_NAME, _SHOWN_START = 400, 40
# What every reader shows as it is shown here, if nothing about it is unusual.
_COMMON_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_COMMON_MODES = ("1", "L", "P", "RGB")
_ORIENTATION = 0x0112
_FAULTS_OF_A_PATH = {
    errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.ENXIO, errno.EPERM,
}  # fmt: skip


class PictureFault(ValueError):
    """A picture that is missing, is not one or cannot be shown; `reason` is short, for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Budget:
    """The smallest and largest area in pixels at which a model sees a picture."""

    min_pixels: int
    max_pixels: int

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in whole visual tokens within the budget, as qwen-vl-utils resizes.

        Raises PictureFault for a shape that would lose a whole side.
        """
        check_shape(width, height)
        across, down = (max(TOKEN_SIDE, round(side / TOKEN_SIDE) * TOKEN_SIDE) for side in (width, height))
        if across * down > self.max_pixels:
            scale = math.sqrt(width * height / self.max_pixels)
            across, down = (math.floor(side / scale / TOKEN_SIDE) * TOKEN_SIDE for side in (width, height))
        elif across * down < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (width * height))
            across, down = (math.ceil(side * scale / TOKEN_SIDE) * TOKEN_SIDE for side in (width, height))
        if not across or not down:
            detail = f"is {width} x {height} pixels, too narrow to be shown in {self.max_pixels}"
            raise PictureFault("picture too narrow", detail)
        return across, down


def read_picture(picture: str | Path | bytes) -> Image.Image:
    """A picture as RGB and upright. Raises PictureFault."""
    with _opened(picture_bytes(picture)) as opened:
        return to_rgb(_load_upright(opened))


def check_picture(picture: str | Path | bytes) -> str:
    """The format of a picture, such as "png", that is decoded to its end. Raises PictureFault."""
    data = picture_bytes(picture)
    with _opened(data) as opened:
        opened.verify()
    with _opened(data) as opened:
        # A JPEG is decoded at an eighth of its size: all its data is read, little is computed.
        opened.draft("L", (1, 1))
        opened.load()
        if opened.mode.startswith("F"):
            to_rgb(opened)  # not every number can be shown
        return str(opened.format).lower()


def picture_size(picture: str | Path | bytes) -> tuple[int, int]:
    """(width, height) of a picture as it is shown. Raises PictureFault."""
    with _opened(picture_bytes(picture)) as opened:
        return _upright_size(opened)


def common_form(picture: str | Path | bytes, *, budget: Budget | None = None) -> tuple[bytes, str]:
    """A picture for others to read, and its format: they see what `read_picture` shows here.

    It is the file itself where every reader shows it so, else a PNG. With a budget a picture that does not
    fit is resized as for a model here, and so has as many visual tokens at a server with a larger budget.
    Raises PictureFault.
    """
    data = picture_bytes(picture)
    with _opened(data) as opened:
        # First, because a look at its EXIF data loads a PNG and hides that it is broken.
        shown = to_rgb(_load_upright(opened))
        kind, size = str(opened.format), _upright_size(opened)
        target = budget.fit(*size) if budget else size
        fits = budget is None or target == Budget(0, MAX_PIXELS * MAX_RATIO).fit(*size)
        common = kind in _COMMON_FORMATS and opened.mode in _COMMON_MODES and _is_plain(opened)
    if fits and common:
        return data, kind.lower()
    return encode_png(shown if fits else shown.resize(target)), "png"


def encode_png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    """A picture's bytes in a format, such as "png", as a `data:` URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def reference(picture: object) -> str:
    """A picture as the rest of the package names it: a path, or a `data:` URI of bytes or a PIL image.

    Raises ValueError for anything else, and PictureFault for an image that cannot be read to its end.
    """
    if isinstance(picture, Image.Image):
        with _faults_of_decoders():
            return data_uri(encode_png(to_rgb(_load_upright(picture))), "png")
    if isinstance(picture, bytes | bytearray | memoryview):
        return data_uri(bytes(picture), "picture")
    if isinstance(picture, str | os.PathLike) and isinstance(path := os.fspath(picture), str):
        return path
    raise ValueError(f"a picture is a path, bytes, a data: URI or a PIL image, not {type(picture).__name__}")


def is_data_uri(name: str) -> bool:
    """Whether a name holds the picture itself, in base64."""
    return _DATA_URI.match(name[:_SHOWN_NAME]) is not None


def is_address(name: str) -> bool:
    """Whether a name is that of a place in a network, where nothing is fetched from."""
    return _ADDRESS.match(name) is not None and not _FILE_ADDRESS.match(name)


def local_path(name: str) -> str:
    """The path in a `file:` address; any other name stays as it is."""
    match = _FILE_ADDRESS.match(name)
    return unquote(name[match.end() :]) if match else name


def short_name(picture: str | Path) -> str:
    """A picture's path, or the beginning of its `data:` URI or of what cannot be a path, for messages."""
    name = str(picture)
    is_long = len(name) > _SHOWN_NAME or is_data_uri(name)
    return f"{name[:_SHOWN_START]}… ({len(name)} characters)" if is_long else name


def check_shape(width: int, height: int) -> None:
    """Raises PictureFault for a picture without pixels, with too many or much longer than wide."""
    if width * height > MAX_PIXELS:
        raise PictureFault("picture too large", f"has {width} x {height} pixels, more than {MAX_PIXELS}")
    if max(width, height) > MAX_RATIO * min(width, height):
        detail = f"is {width} x {height} pixels; one side may be {MAX_RATIO} times the other"
        raise PictureFault("picture too narrow", detail)


def to_rgb(picture: Image.Image) -> Image.Image:
    """A decoded picture as RGB: transparent parts on white, 16-bit grey scaled."""
    if picture.mode.startswith(("I", "F")):
        return _scaled_grey(picture)
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        ground = Image.new("RGB", clear.size, (255, 255, 255))
        ground.paste(clear, mask=clear.getchannel("A"))
        return ground
    return picture.convert("RGB")


def _scaled_grey(picture: Image.Image) -> Image.Image:
    """16 bits are scaled from their whole range; 32, which have none, from the least to the most."""
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise PictureFault("unreadable picture", "has values that are not numbers")
    low, high = (0.0, 65535.0) if picture.mode.startswith("I;16") else (values.min(), values.max())
    grey = ((values - low) * (255 / max(high - low, 1e-300))).round().astype(np.uint8)
    if (clear := picture.info.get("transparency")) is not None:
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A picture whose header is sound and small enough."""
    Image.init()
    with _faults_of_decoders(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            check_shape(*opened.size)
            yield opened


@contextmanager
def _faults_of_decoders() -> Iterator[None]:
    """Whatever a decoder raises is a PictureFault."""
    try:
        yield
    except (PictureFault, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        detail = f"cannot be read: it is no picture of the formats {', '.join(FORMATS)}"
        raise PictureFault("unreadable picture", detail) from error
    except Image.DecompressionBombError as error:
        raise PictureFault("picture too large", f"is too large: {error}") from error
    except Exception as error:  # the decoders of a dozen libraries raise whatever they like
        raise PictureFault("unreadable picture", f"cannot be read: {error}") from error


def _load_upright(opened: Image.Image) -> Image.Image:
    opened.load()
    try:
        return ImageOps.exif_transpose(opened)
    except MemoryError:
        raise
    except Exception:  # broken EXIF data: the picture itself is whole
        return opened


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # as above
        return 1


def _upright_size(opened: Image.Image) -> tuple[int, int]:
    width, height = opened.size
    # Pillow turns a TIFF when it loads it, and says so in its size from the beginning.
    turned = opened.format != "TIFF" and _orientation(opened) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _is_plain(opened: Image.Image) -> bool:
    moves = getattr(opened, "n_frames", 1) > 1
    return not moves and not opened.has_transparency_data and _orientation(opened) == 1


def picture_bytes(picture: str | Path | bytes) -> bytes:
    """The bytes of a picture, not looked at yet but for their number. Raises PictureFault."""
    if isinstance(picture, bytes):
        if len(picture) > MAX_PICTURE_BYTES:
            raise PictureFault("picture too large", f"has {len(picture)} bytes")
        return picture
    if isinstance(picture, str) and (match := _DATA_URI.match(picture[:_SHOWN_NAME])):
        return _decode(picture, match.end())
    try:
        return _read_file(local_path(picture) if isinstance(picture, str) else picture)
    except FileNotFoundError as error:
        detail = ADVICE_ON_ADDRESSES if is_address(str(picture)) else "is missing"
        raise PictureFault("picture not found", detail) from error
    except (OSError, ValueError) as error:
        if isinstance(error, PictureFault) or getattr(error, "errno", None) not in {*_FAULTS_OF_A_PATH, None}:
            raise
        said = error.strerror if isinstance(error, OSError) else error
        raise PictureFault("unreadable picture", f"cannot be read: {said}") from error


def _read_file(path: str | Path) -> bytes:
    """The bytes of a regular file. A pipe or a device would be waited for, or has no end."""
    with open(path, "rb", opener=_open_without_waiting) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PictureFault("unreadable picture", "cannot be read: it is not a file")
        data = stream.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        size = max(status.st_size, len(data))
        raise PictureFault("picture too large", f"has {size} bytes, more than {MAX_PICTURE_BYTES}")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(uri: str, start: int) -> bytes:
    if len(uri) - start > MAX_PICTURE_BYTES // 3 * 4:
        raise PictureFault("picture too large", f"has {len(uri)} characters in base64")
    # Line breaks, the alphabet of addresses, escapes and missing padding change nothing of what is meant.
    text = unquote(uri[start:]).translate(_BASE64_OF_ADDRESSES).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureFault("unreadable picture", f"is not base64: {error}") from error
