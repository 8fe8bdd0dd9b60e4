"""What can be exported: a bare pair, or a cold-start example with its answer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1reward.data.cold_start import SFTExample
from r1reward.data.storage import pair_from_row, pair_to_row, parse_rows
from r1reward.pictures import PictureFault, common_form, picture_bytes
from r1reward.types import PreferencePair

Item = PreferencePair | SFTExample


def pair_of(item: Item) -> PreferencePair:
    """The pair of an item."""
    return item.pair if isinstance(item, SFTExample) else item


def item_to_row(item: Item, folder: Path) -> dict[str, Any]:
    """An item as a JSON object for a file in `folder`, as `write_pairs` and `write_sft` write it."""
    row = pair_to_row(pair_of(item), folder)
    return {**row, "completion": item.completion} if isinstance(item, SFTExample) else row


def item_from_row(row: Mapping[str, Any], folder: Path, *, pictures: Sequence[str] | None = None) -> Item:
    """The item of a JSON object; `pictures` replace the paths of its pictures and frames, in this order.

    A faulty field or another number of pictures is a ValueError.
    """
    pair = pair_from_row(row, folder)
    if pictures is not None:
        if len(pictures) != len(pair.images) + len(pair.frames):
            raise ValueError(f"there are {len(pictures)} pictures for {pair.pair_id}")
        images, frames = pictures[: len(pair.images)], pictures[len(pair.images) :]
        pair = replace(pair, images=tuple(images), frames=tuple(frames))
    completion = row.get("completion")
    if not isinstance(completion, str | None):
        raise ValueError("field 'completion' is not text")
    return pair if completion is None else SFTExample(pair, completion)


def show_alike(item: Item, folder: Path) -> Item:
    """The item with pictures that every trainer opens as they are opened here.

    One that others would turn, or show on another ground, is written to `folder` as a PNG. Raises ValueError
    that names the item for a picture that cannot be read.
    """
    pair = pair_of(item)
    images, frames = (
        tuple(_alike(path, pair, folder) for path in paths) for paths in (pair.images, pair.frames)
    )
    pair = replace(pair, images=images, frames=frames)
    return SFTExample(pair, item.completion) if isinstance(item, SFTExample) else pair


def _alike(path: str, pair: PreferencePair, folder: Path) -> str:
    try:
        data, kind = common_form(path)
        same = data == picture_bytes(path)
    except PictureFault as fault:
        raise ValueError(f"{pair.label}: picture {path} {fault}") from fault
    return path if same else restore_picture(data, f".{kind}", folder)


def iterate_items(path: Path) -> Iterator[Item]:
    """The items of a file of pairs or of cold-start examples; a fault names file and row (ValueError)."""
    return parse_rows(path, lambda row: item_from_row(row, path.parent))


def restore_picture(data: bytes, suffix: str, folder: Path) -> str:
    """Write a picture that was inside a row, named by its content; returns the path."""
    path = folder / picture_name(data, suffix)
    if not path.exists() or path.stat().st_size != len(data):
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_bytes(data)
        os.replace(partial, path)
    return str(path)


def picture_name(data: bytes, suffix: str) -> str:
    """Name of a picture by its content."""
    return f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
