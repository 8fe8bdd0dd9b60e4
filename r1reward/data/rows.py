"""Rows of data files one by one, as `r1reward.files.scan_jsonl` reads JSON lines; a faulty one costs itself.

A fault stands in its row's place and reading goes on. It is counted by its reason and named, in a warning
(`sift`) or in a file (`Quarantine`).

Nothing here executes what a file holds: JSON and parquet carry data only, and pickles are never opened.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TextIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.files import RefusedRow, Row
from r1reward.types import PreferencePair

_LOG = logging.getLogger(__name__)
MAX_LIST_BYTES = 1 << 30
MOST_MEMORY = 1 << 40
BATCH_ROWS = 64
_SPACE = re.compile(r"[ \t\n\r]*")
MAX_DETAIL = 300
SHOWN_REASON = 80
LEFT_OUT = "left_out"
Kind = Literal["dropped", "refused"]
T = TypeVar("T")


class DroppedRow(Exception):
    """A sound row that makes no preference pair, such as a tie; the message is the reason."""


class Quarantine:
    """Collects rows that make no preference pair (dropped) and rows that break the schema (refused).

    Rows are written to `path` as they come, if there is one; `counts` holds numbers by source, kind and
    reason. A row is noted once, however often its file is read. Use it as a context manager.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.counts: dict[str, dict[Kind, Counter[str]]] = defaultdict(
            lambda: {"dropped": Counter(), "refused": Counter()}
        )
        self._noted: set[tuple[str, str]] = set()
        self._stream: TextIO | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("w", encoding="utf-8")

    def add(self, kind: Kind, source: str, origin: str, reason: str, detail: str = "") -> None:
        """Note one row; `origin` names file and row, `detail` says more than the reason that is counted."""
        if (source, origin) in self._noted:
            return
        self._noted.add((source, origin))
        self.counts[source][kind][reason] += 1
        if self._stream:
            if len(detail) > MAX_DETAIL:
                detail = f"{detail[:MAX_DETAIL]}… ({len(detail)} characters)"
            row = {"source": source, "kind": kind, "origin": origin, "reason": reason, "detail": detail}
            # Escaped to ASCII: the name of a file may be no valid Unicode.
            self._stream.write(json.dumps(row) + "\n")

    def refuse(self, source: str, fault: RefusedRow) -> None:
        """Note a row that breaks the schema."""
        self.add("refused", source, fault.origin, fault.reason, fault.detail)

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()


def parse_each(
    rows: Iterable[Row],
    parse: Callable[[int, dict[str, Any], str], T],
    refuse: Callable[[RefusedRow], object],
) -> Iterator[T]:
    """What `parse(number, row, origin)` makes of each row, numbered from 0 with the faulty ones.

    `refuse` is told of a row that is a fault, or of which `parse` raises a ValueError; reading goes on.
    """
    number = 0
    for origin, row in rows:
        here = number
        number += row.rows if isinstance(row, RefusedRow) else 1
        try:
            if isinstance(row, RefusedRow):
                raise row
            made = parse(here, row, origin)
        except RefusedRow as fault:
            refuse(fault)
        except ValueError as error:
            refuse(RefusedRow(origin, str(error).partition(": ")[0], str(error)))
        else:
            yield made


@dataclass(frozen=True, slots=True)
class Sifted(Generic[T]):
    """What was made of the sound rows, in their order, and how many rows were left out for which reason."""

    kept: list[T]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The rows left out in words, such as "2 of 9 rows left out: not JSON 2"; empty if there are none."""
        if not self.left_out:
            return ""
        lost = sum(self.left_out.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.left_out.items()))
        return f"{lost:,} of {lost + len(self.kept):,} rows left out: {reasons}"


def sift(rows: Iterable[Row], parse: Callable[[int, dict[str, Any], str], T]) -> Sifted[T]:
    """`parse_each` for rows of which a score or a training is made: what is left out is said in a warning.

    Raises the fault where all rows have one, and that of a file whose rows nobody can count.
    """
    faults: list[RefusedRow] = []

    def refuse(fault: RefusedRow) -> None:
        if not fault.rows:
            raise fault
        faults.append(fault)

    kept = list(parse_each(rows, parse, refuse))
    lost = sum(fault.rows for fault in faults)
    if faults and not kept:
        raise ValueError(f"all {lost} rows are faulty, the first: {faults[0]}")
    if faults:
        _LOG.warning(
            "%d of %d rows are faulty and left out, the first: %s", lost, lost + len(kept), faults[0]
        )
    reasons: Counter[str] = Counter()
    for fault in faults:
        reasons[fault.reason[:SHOWN_REASON]] += fault.rows
    return Sifted(kept, dict(reasons))


def read_benchmark(
    rows: Iterable[Row], parse: Callable[[int, dict[str, Any], str], PreferencePair]
) -> list[PreferencePair]:
    """The pairs of the sound rows of a benchmark, in their order; see `sift` for the warning and the errors.

    A score over fewer rows is not the benchmark's. So where rows are left out, `meta["left_out"]` of every
    pair says in words how many and why, from where it goes into records and below tables.
    """
    sifted = sift(rows, parse)
    if not sifted.left_out:
        return sifted.kept
    return [replace(pair, meta={**pair.meta, LEFT_OUT: sifted.summary}) for pair in sifted.kept]


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


def text_field(row: Mapping[str, Any], name: str, origin: str) -> str:
    """A text field of a row; a missing value, another type and broken Unicode are refused."""
    value = row.get(name)
    if not isinstance(value, str):
        raise RefusedRow(origin, f"field '{name}' is missing or not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RefusedRow(origin, f"field '{name}' is not valid Unicode", f"{name}: {error.reason}") from error
    return value


def records(row: Mapping[str, Any], name: str, origin: str) -> list[dict[str, Any]]:
    """A list of records, also where a reader turned it into a record of equally long lists."""
    value = row.get(name)
    if isinstance(value, dict) and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise RefusedRow(origin, f"field '{name}' is a record of lists of different lengths")
        value = [dict(zip(value, entries, strict=True)) for entries in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise RefusedRow(origin, f"field '{name}' is missing or not a list of records")
    return [mapping(entry, origin) for entry in value]


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
