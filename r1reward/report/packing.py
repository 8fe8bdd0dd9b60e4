"""Records for machines: what a run writes as JSON files is published as parquet tables, a row a line.

A row has the parts of its file's name (model, seed, mode), the fields of its line, and their order in
`fields`. A field with the name of another column stands as `own_<field>`; what is no number, text or list of
these is JSON. Every file comes back to the byte, so that the hashes in the manifests hold for both forms.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.files import read_json, read_jsonl

# Which files make one table, by their names without suffix; the first that fits counts. Others stay files.
LAYOUT = {
    "bench/{benchmark}/{model}/seed_{seed}/{mode}": "bench/{benchmark}",
    "scaling/{benchmark}/{model}/seed_{seed}/pool": "scaling/{benchmark}",
    "scaling/best_of_n/{model}/seed_{seed}/rankings": "scaling/best_of_n",
    "stress/{cell}/{variant}/seed_{seed}/{kind}": "stress/{kind}",
    "downstream/training/seed_{seed}/{kind}": "downstream/training_{kind}",
    "downstream/tournaments/seed_{seed}": "downstream/tournaments",
    "downstream/{policy}/seed_{seed}/{benchmark}": "downstream/answers",
    "steering/{judge}/seed_{seed}": "steering/texts",
    "sft/seed_{seed}/{kind}": "sft/{kind}",
    "{part}/{arm}/seed_{seed}/(?P<mode>greedy|sampled)": "{part}/bench",
    "{part}/{arm}/seed_{seed}/{kind}": "{part}/{kind}",
}
# How lines are written: tables name a form by its number.
FORMS: tuple[dict[str, Any], ...] = (
    {"ensure_ascii": False},
    {"indent": 2, "sort_keys": True, "ensure_ascii": False},
    {"separators": (",", ":"), "ensure_ascii": False},
    {},
)
_FIELDS = "fields"
_OWN = "own_"
_TEXT = {b"json": b"text"}
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_COMPRESSION_LEVEL = 9
_PATTERNS = {
    re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/.][^/]*)", files.replace("{seed}", r"(?P<seed>\d+)"))): table
    for files, table in LAYOUT.items()
}
_SEED = re.compile(r"((?:.*?/)?)seed_(\d+)([/.].*)")

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the lines of a file lie in a table: `rows` of them from `start`."""

    table: Path
    start: int
    rows: int
    form: int


class RecordFiles:
    """The files of records by their names below a folder, whether they lie there or in tables; a snapshot.

    Raises ValueError for a table that is damaged or holds something else than the lines of its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, Path | _Place] = {}
        self._tables: dict[Path, pa.Table] = {}
        self._seeds: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not (path.name.startswith(".") and path.suffix == ".tmp"):
                self._add(path)
        self.names = sorted(self._places)
        for name in self.names:
            if seed := _SEED.match(name):
                before, number, after = seed.groups()
                self._seeds[f"{before}seed_*{after}"][int(number)] = name
                if after.startswith("/"):
                    self._seeds[f"{before}seed_*"][int(number)] = name.removesuffix(after)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def seeds(self, pattern: str) -> dict[int, str]:
        """Files or folders such as `rl/grpo/seed_*/metrics.jsonl` or `rl/grpo/seed_*`, by seed."""
        return dict(sorted(self._seeds.get(pattern, {}).items()))

    def lines(self, name: str) -> list[Line]:
        """The rows of a JSON-lines file."""
        place = self._places[name]
        return read_jsonl(place) if isinstance(place, Path) else self._unpack(name, place)

    def document(self, name: str) -> Any:
        """What a JSON file holds."""
        place = self._places[name]
        return read_json(place) if isinstance(place, Path) else self._unpack(name, place)[0]

    def content(self, name: str) -> bytes:
        """A file's bytes, as the run wrote them."""
        place = self._places[name]
        if isinstance(place, Path):
            return place.read_bytes()
        try:
            return _dump(self._unpack(name, place), place.form)
        except TypeError as error:  # a column of dates, say
            raise ValueError(f"{place.table}: {name} is no JSON: {error}") from error

    def _add(self, path: Path) -> None:
        places: dict[str, Path | _Place] = {path.relative_to(self.folder).as_posix(): path}
        if path.suffix == ".parquet" and (files := _read_files(path)) is not None:
            places, start = {}, 0
            for name, (rows, form) in files.items():
                places[name] = _Place(path, start, rows, form)
                start += rows
        if twice := sorted(places.keys() & self._places.keys()):
            raise ValueError(f"{path}: {twice[0]} is there twice")
        self._places |= places

    def _unpack(self, name: str, place: _Place) -> list[Line]:
        if place.table not in self._tables:
            self._tables[place.table] = _read_table(place.table)
        table = self._tables[place.table]
        texts = {column.name for column in table.schema if column.metadata == _TEXT}
        member_of, parts = _table_of(name)
        if self.folder / f"{member_of}.parquet" != place.table:
            raise ValueError(f"{place.table}: {name} does not belong into this table")
        try:
            rows = table.slice(place.start, place.rows).to_pylist()
            return [_line(row, parts, texts) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{place.table}: a row of {name} is not its line: {error}") from error


def pack(source: Path, target: Path) -> Path:
    """Write the records below `source` to the new folder `target`: tables, and the files that no table holds.

    The same records are the same bytes. Returns the folder.
    """
    target.mkdir(parents=True)
    tables: defaultdict[str, dict[str, tuple[list[Line], int]]] = defaultdict(dict)
    for name in (files := RecordFiles(source)).names:
        content, (table, parts) = files.content(name), _table_of(name)
        parsed = _parse(content, whole=name.endswith(".json")) if table else None
        if parsed and _table_of(next(iter(tables[table]), name))[1].keys() == parts.keys():
            tables[table][name] = parsed
        else:
            _write(target / name, content)
    for name, members in tables.items():
        stream = pa.BufferOutputStream()
        pq.write_table(_build(members), stream, compression="zstd", compression_level=_COMPRESSION_LEVEL)
        _write(target / f"{name}.parquet", stream.getvalue())
    return target


def unpack(source: Path, target: Path) -> None:
    """Write the records below `source`, in whichever form, as the files that the run wrote."""
    for name in (files := RecordFiles(source)).names:
        _write(target / name, files.content(name))


def _write(path: Path, content: bytes | pa.Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _table_of(name: str) -> tuple[str, Line]:
    """The table of a file, "" if it stays a file, and the parts of its name that are columns there."""
    stem, _, suffix = name.rpartition(".")
    for pattern, table in _PATTERNS.items():
        if suffix in ("json", "jsonl") and (match := pattern.fullmatch(stem)):
            parts = {part: text for part, text in match.groupdict().items() if f"{{{part}}}" not in table}
            return table.format(**match.groupdict()), parts | {"seed": int(parts["seed"])}
    return "", {}


def _parse(content: bytes, *, whole: bool) -> tuple[list[Line], int] | None:
    """The lines of a file and the number of their form, None if no table can hold it."""
    try:
        text = content.decode("utf-8")
        lines = [json.loads(part) for part in ([text] if whole else text.split("\n")[:-1])]
    except (ValueError, RecursionError):
        return None
    if not lines or not all(isinstance(line, dict) and _plain_names(line) for line in lines):
        return None
    forms = (form for form in range(len(FORMS)) if _dump(lines, form) == content)
    return next(((lines, form) for form in forms), None)


def _plain_names(line: Line) -> bool:
    return bool(line) and all(field and field.isascii() and "," not in field for field in line)


def _dump(lines: Sequence[Line], form: int) -> bytes:
    text = "".join(json.dumps(line, **FORMS[form]) + "\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")


def _build(members: Mapping[str, tuple[list[Line], int]]) -> pa.Table:
    """The table of files of one kind: the parts of their names, `fields`, then what is in their lines."""
    cells: defaultdict[str, list[Any]] = defaultdict(list)
    columns = dict[str, None]()
    places = [(_table_of(name)[1], lines) for name, (lines, _) in members.items()]
    for parts, lines in places:
        for line in lines:
            columns |= dict.fromkeys(_column(field, parts) for field in line)
    for parts, lines in places:
        for line in lines:
            row = {_column(field, parts): value for field, value in line.items()}
            for name, value in (parts | {_FIELDS: ",".join(line)}).items():
                cells[name].append(value)
            for name in columns:
                cells[name].append(row.get(name))
    arrays = {name: _array(values) for name, values in cells.items()}
    kept = {name: (len(lines), form) for name, (lines, form) in members.items()}
    fields = [
        pa.field(name, array.type, metadata=_TEXT if is_json else None)
        for name, (array, is_json) in arrays.items()
    ]
    schema = pa.schema(fields, metadata={"files": json.dumps(kept)})
    return pa.Table.from_arrays([array for array, _ in arrays.values()], schema=schema)


def _column(field: str, parts: Line) -> str:
    return f"{_OWN}{field}" if field in parts or field == _FIELDS or field.startswith(_OWN) else field


def _array(values: list[Any]) -> tuple[pa.Array, bool]:
    """A column, and whether it holds JSON text because its values have several types or are objects."""
    kind = _type(values)
    if kind is not None:
        try:
            return pa.array(values, kind), False
        except (ValueError, OverflowError):  # an integer of more than 64 bits, half a surrogate pair
            pass
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string()), True


def _type(values: Sequence[Any]) -> pa.DataType | None:
    """The one type of all values, None where they have several or are objects."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {list}:
        inner = _type([item for value in values if value is not None for item in value])
        return None if inner is None else pa.list_(inner)
    return _TYPES.get(kinds.pop()) if len(kinds) == 1 else None if kinds else pa.string()


def _line(row: Line, parts: Line, texts: set[str]) -> Line:
    """The line of a row, from which nothing may be left but the parts of the file's name."""
    line = {}
    for field in row.pop(_FIELDS).split(","):
        column = _column(field, parts)
        value = row.pop(column)
        line[field] = json.loads(value) if column in texts and value is not None else value
    if rest := {name: value for name, value in row.items() if value is not None and parts.get(name) != value}:
        raise ValueError(f"there are also {rest}")
    if missing := [name for name in parts if row.get(name) is None]:
        raise ValueError(f"there is no {missing[0]}")
    return line


def _read_files(path: Path) -> dict[str, tuple[int, int]] | None:
    """Rows and form of each file in a table, in order; None for a parquet file of another kind."""
    try:
        files = (pq.read_schema(path).metadata or {}).get(b"files")
        if files is None:
            return None
        counts = {name: (int(rows), int(form)) for name, (rows, form) in json.loads(files).items()}
        if not all(rows > 0 and 0 <= form < len(FORMS) for rows, form in counts.values()):
            raise ValueError("files without rows, or of an unknown form")
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    return counts


def _read_table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if table.num_rows != sum(rows for rows, _ in (_read_files(path) or {}).values()):
        raise ValueError(f"{path}: has rows that belong to no file")
    return table
