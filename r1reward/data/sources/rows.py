"""Rows of JSON lists and parquet files, as `r1reward.files.scan_jsonl` reads JSON lines.

A fault stands in its row's place, reading goes on.

Nothing here executes what a file holds: JSON and parquet carry data only, and pickles are never opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.files import RefusedRow, Row

MAX_LIST_BYTES = 1 << 30
MOST_MEMORY = 1 << 40
_SPACE = re.compile(r"[ \t\n\r]*")
BATCH_ROWS = 64


def find_files(folder: Path, *patterns: str) -> list[Path]:
    """Files of the folder by the first pattern that matches any, sorted; none is a FileNotFoundError."""
    for pattern in patterns:
        found = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
        if found:
            return found
    raise FileNotFoundError(f"{folder}: no file like {' or '.join(patterns)}")


def mapping(value: Any, origin: str) -> dict[str, Any]:
    """`value` if it is an object with named fields, else a RefusedRow."""
    if not isinstance(value, dict):
        raise RefusedRow(origin, "not an object", f"expected an object, got {type(value).__name__}")
    return value


def scan_json_list(path: Path) -> Iterator[Row]:
    """(origin, row) of a file that is one JSON list: its text is in memory, its rows one at a time.

    What stands before a fault is kept. Bytes that are not UTF-8 spoil only the texts they are in:
    `text_field` refuses those.
    """
    origin = str(path)
    if path.stat().st_size > MAX_LIST_BYTES:
        yield origin, RefusedRow(origin, "file too large", f"more than {MAX_LIST_BYTES} bytes", rows=0)
        return
    number = 0
    try:
        for value in _list_items(path.read_bytes().decode("utf-8-sig", "surrogateescape")):
            number += 1
            row_origin = f"{path}, row {number}"
            try:
                yield row_origin, mapping(value, row_origin)
            except RefusedRow as fault:
                yield row_origin, fault
    except TypeError as error:
        yield origin, RefusedRow(origin, "not a list", str(error), rows=0)
    except (ValueError, RecursionError) as error:
        yield origin, RefusedRow(origin, "not JSON", f"not JSON after row {number}: {error}", rows=0)


def _list_items(text: str) -> Iterator[Any]:
    """The items of a JSON list, parsed one by one; TypeError if it is no list, ValueError at a fault."""
    decoder = json.JSONDecoder()

    def skip(place: int) -> int:
        return _SPACE.match(text, place).end()  # type: ignore[union-attr]

    place = skip(0)
    if not text.startswith("[", place):
        raise TypeError(f"not a list but {type(json.loads(text)).__name__}")
    place = skip(place + 1)
    more = not text.startswith("]", place)
    while more:
        value, place = decoder.raw_decode(text, place)
        yield value
        place = skip(place)
        if more := text.startswith(",", place):
            place = skip(place + 1)
    if not text.startswith("]", place) or skip(place + 1) < len(text):
        raise ValueError(f"the list does not end at character {place}")


def scan_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """(origin, row) of a parquet file, a few rows in memory at a time.

    A file that cannot be opened or lacks a column is one fault; so is a row group that breaks off.
    """
    origin = str(path)
    try:
        file = pq.ParquetFile(path)
        names, lost = file.schema_arrow.names, file.metadata.num_rows
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except Exception as error:  # the reader raises whatever a wrong byte leads it to
        detail = _fault(error, "not a readable parquet file")
        yield origin, RefusedRow(origin, "not a parquet file", detail, rows=0)
        return
    with file:
        if missing := sorted(set(columns) - set(names)):
            detail = f"no column {', '.join(missing)}"
            yield origin, RefusedRow(origin, "missing column", detail, rows=lost)
            return
        first = 1
        for group, count in enumerate(sizes):
            yield from _scan_group(file, group, path, columns=columns, first=first, count=count)
            first += count


def _scan_group(
    file: pq.ParquetFile, group: int, path: Path, *, columns: Sequence[str], first: int, count: int
) -> Iterator[Row]:
    """The rows of one row group, which starts with row `first` of the file and has `count` rows."""
    done = 0
    try:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns)):
            for index in range(batch.num_rows):
                origin = f"{path}, row {first + done}"
                done += 1
                yield origin, _to_row(batch, index, origin)
    except Exception as error:  # as above
        origin = f"{path}, rows {first + done} to {first + count - 1}"
        detail = _fault(error, "not a readable parquet file")
        yield origin, RefusedRow(origin, "broken parquet data", detail, rows=max(count - done, 0))


def _to_row(batch: pa.RecordBatch, index: int, origin: str) -> dict[str, Any] | RefusedRow:
    try:
        return batch.slice(index, 1).to_pylist()[0]
    except Exception as error:  # dates beyond the calendar, texts that are none, and so on
        return RefusedRow(origin, "unreadable value", _fault(error, "a value cannot be read"))


def _fault(error: Exception, meaning: str) -> str:
    """What to note of an error in reading; one that is the machine's, short of memory, is raised again.

    A wrong byte can make the reader ask for more memory than any machine has: that is the file's fault.
    """
    if isinstance(error, MemoryError):
        asked = re.search(r"size (\d+) failed", str(error))
        if asked is None or int(asked[1]) < MOST_MEMORY:
            raise error
    return f"{meaning}: {error}"
