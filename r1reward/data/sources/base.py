"""What the loaders of preference data share: specification, checks, pictures and errors.

A loader yields pairs with the chosen response first. A row that cannot be a preference pair (a tie, an
empty or a repeated response) is dropped and counted by its reason; a row that breaks the schema, or
whose picture is missing or corrupt, is a ValueError that names file and row.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from r1reward.types import PreferencePair

BATCH_ROWS = 64
IMAGE_TAG = "<image>"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A data set as published: `expected_count` rows on the hub, `table_2_name` in the paper's Table 2."""

    name: str
    hub_id: str
    licence: str
    expected_count: int
    table_2_name: str


class Reader(Protocol):
    """Reads a folder in the original schema of a source, in the order of its files.

    `drops` collects the reasons of dropped rows. `keep` is asked with the id of each usable row before
    its picture is touched. `cache` is where embedded pictures are written (default: `pictures` in the
    folder); sources whose pictures are files do not use it.
    """

    def __call__(
        self,
        folder: Path,
        *,
        drops: Counter[str] | None = None,
        keep: Callable[[str], bool] | None = None,
        cache: Path | None = None,
    ) -> Iterator[PreferencePair]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A source of preference pairs: what it is and how it is read."""

    spec: SourceSpec
    read: Reader


def iterate_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(origin, row) of a JSON-lines file, read line by line; a fault names file and row (ValueError)."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            origin = f"{path}, row {number}"
            try:
                row = json.loads(line.decode("utf-8"))
            except ValueError as error:
                raise ValueError(f"{origin}: not JSON: {error}") from error
            yield origin, mapping(row, origin)


def iterate_parquet(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(origin, row) of parquet files, a few rows in memory at a time; faults name the file (ValueError)."""
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                missing = sorted(set(columns) - set(file.schema_arrow.names))
                if missing:
                    raise ValueError(f"{path}: no column {', '.join(missing)}")
                number = 0
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{path}, row {number}", row
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: not a readable parquet file: {error}") from error


def find_files(folder: Path, *patterns: str) -> list[Path]:
    """Files of the folder by the first pattern that matches any, sorted; none is a FileNotFoundError."""
    for pattern in patterns:
        found = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
        if found:
            return found
    raise FileNotFoundError(f"{folder}: no file like {' or '.join(patterns)}")


def mapping(value: Any, origin: str) -> dict[str, Any]:
    """`value` if it is an object with named fields, else a ValueError that names the row."""
    if not isinstance(value, dict):
        raise ValueError(f"{origin}: expected an object, got {type(value).__name__}")
    return value


def text_field(row: Mapping[str, Any], name: str, origin: str) -> str:
    """A text field of a row; a missing or other value is a ValueError that names the row."""
    value = row.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{origin}: field '{name}' is missing or not text")
    return value


def strip_image_tag(text: str) -> str:
    """A question without LLaVA's `<image>` mark and the line break beside it."""
    return text.replace(f"{IMAGE_TAG}\n", "").replace(f"\n{IMAGE_TAG}", "").replace(IMAGE_TAG, "").strip()


def drop_reason(question: str, chosen: str, rejected: str) -> str | None:
    """Why these texts make no preference pair, or None if they do."""
    if not question.strip():
        return "empty question"
    if not chosen.strip() or not rejected.strip():
        return "empty response"
    if chosen.strip() == rejected.strip():
        return "identical responses"
    return None


def chosen_first(
    spec: SourceSpec,
    pair_id: str,
    question: str,
    responses: tuple[str, str],
    *,
    picture: str,
    name: str,
    origin: str,
) -> PreferencePair:
    """A pair with the chosen response first; `name` is the picture's in the row, kept in `meta`."""
    meta = {"image": PureWindowsPath(name).name}
    return PreferencePair(pair_id, spec.name, question, responses, 1, (picture,), origin=origin, meta=meta)


def find_picture(folder: Path, name: str, *, subfolders: Sequence[str], origin: str) -> str:
    """Path of a picture that a row names, looked for in the folder and its `subfolders`.

    A name that is absolute or climbs out of the folder, and a picture that does not exist, is a
    ValueError that names the row.
    """
    if not is_inside(name):
        raise ValueError(f"{origin}: picture path {name!r} leaves the folder {folder}")
    candidates = [Path(folder, subfolder, name) for subfolder in ("", *subfolders)]
    for path in candidates:
        if path.is_file():
            return str(path)
    raise ValueError(f"{origin}: picture {name!r} not found; looked for {', '.join(map(str, candidates))}")


def is_inside(name: str) -> bool:
    """Whether a path from a data file stays inside the folder it is joined to, on any system."""
    windows = PureWindowsPath(name)
    absolute = bool(windows.drive or windows.root)
    return bool(name) and "\0" not in name and not absolute and ".." not in windows.parts


def store_picture(data: Any, cache: Path, origin: str) -> str:
    """Write the bytes of an embedded picture once, named by their content; returns the path.

    Bytes that are no readable picture are a ValueError that names the row.
    """
    if not isinstance(data, bytes) or not data:
        raise ValueError(f"{origin}: the row holds no picture")
    try:
        with Image.open(io.BytesIO(data)) as picture:
            suffix = (picture.format or "").lower()
            picture.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{origin}: the picture cannot be read: {error}") from error
    path = Path(cache) / f"{hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
    if not path.exists() or path.stat().st_size != len(data):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_bytes(data)
        os.replace(partial, path)
    return str(path)


def embedded_picture(row: Mapping[str, Any], origin: str) -> tuple[Any, str]:
    """(bytes, original name) of a row's `image` in the hub's form {bytes, path}."""
    image = mapping(row.get("image"), origin)
    name = image.get("path") or row.get("image_path") or ""
    return image.get("bytes"), str(name)
