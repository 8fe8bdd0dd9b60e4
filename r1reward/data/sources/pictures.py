"""Pictures of a source: files of its folder, entries of its zips or bytes in a row, none of them trusted.

A name from a data file cannot leave its folder, a picture is decoded once before it is accepted, and
sizes are bounded before anything is unpacked. Every fault is a RefusedRow.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from r1reward import pictures
from r1reward.data.rows import mapping
from r1reward.files import RefusedRow, sha256_file

# Of an entry of a zip, unpacked to packed.
MAX_RATIO = 200
MAX_FRAMES = 32
FRAME_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
NOT_FOUND = "picture not found"


def is_inside(name: str) -> bool:
    """Whether a path from a data file stays inside the folder it is joined to, on any system."""
    windows = PureWindowsPath(name)
    absolute = bool(windows.drive or windows.root)
    return bool(name) and "\0" not in name and not absolute and ".." not in windows.parts


def find_picture(folder: Path, name: str, *, subfolders: Sequence[str], origin: str) -> str:
    """Path of a picture that a row names, looked for in the folder and its `subfolders`.

    A name that is absolute or climbs out, a link that leads out of the folder and of its subfolders
    (which may themselves be links to another disk), and a picture that does not exist are refused.
    """
    candidates = _candidates(folder, name, subfolders, origin)
    for path in candidates:
        if os.path.isfile(path):
            return _not_led_out(path, candidates, name, origin)
    looked = ", ".join(map(pictures.short_name, candidates))
    raise RefusedRow(
        origin, NOT_FOUND, f"picture {pictures.short_name(name)!r} not found; looked for {looked}"
    )


def _candidates(folder: Path, name: str, subfolders: Sequence[str], origin: str) -> dict[Path, Path]:
    """Where a name may lie, each with the folder it must not leave."""
    if not is_inside(name):
        detail = f"picture path {pictures.short_name(name)!r} leaves the folder {folder}"
        raise RefusedRow(origin, "picture path leaves its folder", detail)
    return {Path(folder, part, name): Path(folder, part) for part in ("", *subfolders)}


def _not_led_out(path: Path, candidates: Mapping[Path, Path], name: str, origin: str) -> str:
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in candidates.values()):
        detail = f"picture path {pictures.short_name(name)!r} is a link that leaves the folder"
        raise RefusedRow(origin, "picture path leaves its folder", detail)
    return str(path)


def check_picture(picture: bytes | Path, origin: str) -> str:
    """The format of a picture that is small enough and decodes to its end; everything else is refused."""
    with _refusing(origin, "the picture"):
        return pictures.check_picture(picture)


def shown_size(path: str, budget: pictures.Budget, origin: str) -> tuple[int, int]:
    """(width, height) of a picture; one that cannot be shown within the budget is refused."""
    with _refusing(origin, f"picture {pictures.short_name(path)}"):
        size = pictures.picture_size(path)
        budget.fit(*size)
    return size


@contextmanager
def _refusing(origin: str, what: str) -> Iterator[None]:
    try:
        yield
    except pictures.PictureFault as fault:
        raise RefusedRow(origin, fault.reason, f"{what} {fault}") from fault


def store_picture(data: Any, cache: Path, origin: str) -> str:
    """Write the bytes of a picture once, named by their content; returns the path.

    Bytes that are no readable picture are refused.
    """
    if not isinstance(data, bytes) or not data:
        raise RefusedRow(origin, "no picture", "the row holds no picture")
    return keep_picture(data, f".{check_picture(data, origin)}", Path(cache))


def keep_picture(data: bytes, suffix: str, folder: Path) -> str:
    """Write the bytes of a picture once, named by their content; returns the path."""
    path = folder / picture_name(data, suffix)
    if not path.exists() or path.stat().st_size != len(data):
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_bytes(data)
        os.replace(partial, path)
    return str(path)


def file_hash(path: str) -> str:
    """SHA-256 of a picture's file, read again where size or time of change is another. Raises OSError."""
    status = os.stat(path)
    return _hash_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _hash_of_version(path: str, size: int, changed: int) -> str:
    # Rows about one picture often stand together, and several annotators are asked about one picture.
    return sha256_file(path)


def picture_name(data: bytes, suffix: str) -> str:
    """Name of a picture by its content."""
    return f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"


def embedded_picture(row: Mapping[str, Any], origin: str) -> tuple[Any, str]:
    """(bytes, original name) of a row's `image`: in the hub's form {bytes, path}, or the bytes alone."""
    held = row.get("image")
    image = {"bytes": held} if isinstance(held, bytes) else mapping(held, origin)
    name = image.get("path") or row.get("image_path") or ""
    return image.get("bytes"), str(name)


class Pictures:
    """The pictures of a folder. `archives` are zips in it that are read where a file is missing.

    What comes out of a row or a zip is written to `cache` (default: `pictures` in the folder).
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path | None = None,
        subfolders: Sequence[str] = (),
        archives: Sequence[str] = (),
    ) -> None:
        self.folder, self.cache = Path(folder), Path(cache or Path(folder) / "pictures")
        self.subfolders = subfolders
        self._archives = [_Archive(self.folder / name) for name in archives]

    def picture(self, reference: Any, origin: str) -> str:
        """Path of a picture given by its bytes, by a `data:` URI or by its name in the folder or a zip."""
        if not isinstance(reference, str):
            return store_picture(reference, self.cache, origin)
        if pictures.is_data_uri(reference):
            with _refusing(origin, "the picture"):
                data = pictures.picture_bytes(reference)
            return store_picture(data, self.cache, origin)
        try:
            path = find_picture(self.folder, reference, subfolders=self.subfolders, origin=origin)
        except RefusedRow as fault:
            if fault.reason != NOT_FOUND:
                raise
            for archive in self._archives:
                data = archive.read(reference, origin)
                if data is not None:
                    return store_picture(data, self.cache, origin)
            raise
        check_picture(Path(path), origin)
        return path

    def frames(self, name: str, origin: str) -> tuple[str, ...]:
        """Paths of a video's frames, in the order of the numbers in their names; evenly at most 32.

        The frames are pictures in a folder called like the video, with or without its suffix. A video
        file alone is refused: no video is decoded here.
        """
        candidates = _candidates(self.folder, name, self.subfolders, origin)
        candidates |= {path.with_suffix(""): root for path, root in candidates.items() if path.suffix}
        folder = next((path for path in candidates if os.path.isdir(path)), None)
        if folder is None:
            place, shown = [*candidates][-1], pictures.short_name(name)
            detail = f"video {shown!r}: put its frames as pictures into the folder {place}"
            raise RefusedRow(origin, "video without frames", detail)
        found = [path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES]
        if not found:
            raise RefusedRow(origin, "video without frames", f"no picture in {folder}")
        found.sort(key=lambda path: ([int(part) for part in re.findall(r"[0-9]+", path.name)], path.name))
        count = min(len(found), MAX_FRAMES)
        chosen = [found[index * len(found) // count] for index in range(count)]
        paths = tuple(_not_led_out(path, candidates, str(path.name), origin) for path in chosen)
        for path in paths:
            check_picture(Path(path), origin)
        with _refusing(origin, "the picture"):
            sizes = {pictures.picture_size(path) for path in paths}
        if len(sizes) > 1:
            detail = f"the frames of video {name!r} have the sizes {sorted(sizes)}"
            raise RefusedRow(origin, "frames of different sizes", detail)
        return paths

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives:
            archive.close()


class _Archive:
    """A zip of pictures, opened when it is first needed; it may be missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None

    def read(self, name: str, origin: str) -> bytes | None:
        """The bytes of an entry called `name`, with or without the zip's folder; None if there is none."""
        if not self.path.is_file():
            return None
        try:
            self._zip = self._zip or zipfile.ZipFile(self.path)
            entry = self._find(self._zip, name)
            return None if entry is None else self._unpack(self._zip, entry, origin)
        except (RefusedRow, MemoryError):
            raise
        except Exception as error:  # a broken zip shows as one of a dozen errors
            detail = f"{self.path}: {name!r} cannot be unpacked: {error}"
            raise RefusedRow(origin, "unreadable zip", detail) from error

    def _find(self, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
        path = PurePosixPath(name)
        for candidate in (path, PurePosixPath(*path.parts[1:]), self.path.stem / path):
            entry = archive.NameToInfo.get(str(candidate))
            if entry is not None:
                return entry
        return None

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, origin: str) -> bytes:
        declared = f"{entry.filename!r} of {self.path} has {entry.file_size} bytes"
        if entry.file_size > pictures.MAX_PICTURE_BYTES:
            raise RefusedRow(origin, "picture too large", declared)
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise RefusedRow(origin, "zip bomb", f"{declared}, packed into {entry.compress_size}")
        with archive.open(entry) as stream:  # gives no more than the declared size
            return stream.read()

    def close(self) -> None:
        if self._zip:
            self._zip.close()
