"""Items as a folder of the `datasets` library, with their pictures inside."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value, load_from_disk

from r1reward.data.items import Item, item_from_row, item_to_row, pair_of, restore_picture

BATCH_ROWS = 64
_TEXTS = ("pair_id", "source", "question", "category", "origin", "completion")
FEATURES = Features(
    {
        **{name: Value("string") for name in _TEXTS},
        "responses": List(Value("string")),
        "preferred": Value("int8"),
        "images": List(Image()),
        "frames": List(Image()),
        "meta": Value("string"),
    }
)


def write_folder(items: Iterable[Item], out: Path) -> Path:
    """Write items as a `datasets` folder; `load_from_disk(out)` gives the pictures as PIL images.

    No items at all are a ValueError: the library cannot read an empty folder.
    """
    rows = (_to_row(item, out) for item in items)
    first = next(rows, None)
    if first is None:
        raise ValueError("there is nothing to export")
    out.parent.mkdir(parents=True, exist_ok=True)
    # A cache of its own, because the library would give back older rows; renamed when it is whole.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".arrow.") as work:
        # The fingerprint saves the library from hashing the generator, which cannot be done.
        data = Dataset.from_generator(
            lambda: chain([first], rows), features=FEATURES, cache_dir=work, fingerprint="items"
        )
        data.save_to_disk(f"{work}/whole")  # type: ignore[union-attr]
        if out.exists():
            shutil.rmtree(out)
        os.rename(f"{work}/whole", out)
    return out


def _to_row(item: Item, folder: Path) -> dict[str, Any]:
    pair = pair_of(item)
    row = {"completion": None, **item_to_row(item, folder), "meta": json.dumps(dict(pair.meta))}
    for name, paths in {"images": pair.images, "frames": pair.frames}.items():
        row[name] = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in paths]
    return row


def read_folder(folder: Path, pictures: Path) -> Iterator[Item]:
    """The items of a folder made by `write_folder`; pictures are written to `pictures`."""
    data: Any = load_from_disk(str(folder)).with_format("arrow")  # without decoding the pictures
    for row in (row for batch in data.iter(BATCH_ROWS) for row in batch.to_pylist()):
        held = [*row["images"], *row["frames"]]
        paths = [restore_picture(one["bytes"], Path(one["path"]).suffix, pictures) for one in held]
        named = {name: [one["path"] for one in row[name]] for name in ("images", "frames")}
        yield item_from_row({**row, **named, "meta": json.loads(row["meta"])}, folder, pictures=paths)
