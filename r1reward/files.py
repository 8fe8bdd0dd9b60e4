"""Files that survive a power cut: atomic replacement, durable JSON lines, hashes.

A file written here is either the old one or the new one, never half of it. JSON lines are appended
durably; a line that a killed process left half-written is recognised and dropped on the next visit. They
are read in one way: `scan_jsonl` puts a fault in its row's place and reads on, `iterate_jsonl` raises it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

MAX_LINE_BYTES = 64 << 20
# Deeper rows would end in a RecursionError, here or where they are written again.
MAX_DEPTH = 100
TOO_DEEP = "nested too deeply"
_CHUNK = 1 << 20


class RefusedRow(ValueError):
    """A row, or a whole file, that cannot be read; the message names it.

    `reason` is short and counted, `detail` (by default the reason) says what was found. `rows` is how
    many rows of the file are lost with it: 0 for a file whose rows nobody can count.
    """

    def __init__(self, origin: str, reason: str, detail: str = "", *, rows: int = 1) -> None:
        super().__init__(f"{origin}: {detail or reason}")
        self.origin, self.reason, self.detail, self.rows = origin, reason, detail or reason, rows


# Where a row stands, and the row or what is wrong with it.
Row = tuple[str, dict[str, Any] | RefusedRow]


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write `content` (text as UTF-8) so that a reader sees the old file or the whole new one.

    Missing folders are made. The data is on disk when the call returns.
    """
    with atomic_stream(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def atomic_stream(path: str | Path) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when the block ends; after an error the old file stays.

    For what is too large to be held in memory. The data is on disk when the block is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise
    sync(path.parent)


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` atomically as JSON with sorted keys, two spaces and a final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return write_atomic(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON file; a syntax error names the file (ValueError)."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def append_jsonl(
    path: str | Path, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]], *, durable: bool = True
) -> None:
    """Append one row, or several in one write; they are on disk when the call returns.

    Without `durable` they survive a kill but maybe not a power cut. A half-written last line of a killed
    process is cut off first, so that rows never run together. Half a surrogate pair, which a server may
    send, is written as JSON's escape. Several processes may append to one file.
    """
    path = Path(path)
    many = [rows] if isinstance(rows, Mapping) else rows
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in many)
    if not lines:
        return
    created = not path.exists()
    if created:
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        prefix = _mend_tail(stream)
        stream.write(prefix + lines.encode("utf-8", "backslashreplace"))
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
    if created:
        sync(path.parent)


def read_jsonl(path: str | Path, *, drop_partial: bool = False) -> list[dict[str, Any]]:
    """All rows of a JSON-lines file; see `iterate_jsonl`."""
    return list(iterate_jsonl(path, drop_partial=drop_partial))


def iterate_jsonl(path: str | Path, *, drop_partial: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, one in memory at a time; blank lines are skipped.

    With `drop_partial` an unterminated last line that is not a whole JSON object (the trace of a
    killed process) is left out. Any other fault is raised: a RefusedRow (ValueError) that names file and row.
    """
    for row, ended in _scan(Path(path)):
        if isinstance(row[1], RefusedRow):
            if drop_partial and not ended:
                return
            raise row[1]
        yield row[1]


def scan_jsonl(path: str | Path) -> Iterator[Row]:
    """(origin, row) of a JSON-lines file, one line in memory at a time; blank lines are no rows.

    Rows are numbered by their lines, from 1. A row that is too long or nested too deeply, is not UTF-8 or no
    JSON object is a RefusedRow in its place; a byte-order mark is skipped. Of a line above `MAX_LINE_BYTES`
    no more than that is ever held.
    """
    return (row for row, _ in _scan(Path(path)))


def _scan(path: Path) -> Iterator[tuple[Row, bool]]:
    """The rows of `scan_jsonl`, each with whether its line is ended."""
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            origin = f"{path}, row {number}"
            if len(line) > MAX_LINE_BYTES:
                _skip_line(stream, line)
                detail = f"a line of more than {MAX_LINE_BYTES} bytes"
                yield (origin, RefusedRow(origin, "line too long", detail)), True
            elif line.strip():
                yield (origin, _parse_line(line, origin)), line.endswith(b"\n")


def _skip_line(stream: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = stream.readline(_CHUNK)


def _parse_line(line: bytes, origin: str) -> dict[str, Any] | RefusedRow:
    try:
        row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_fields_once)
    except (ValueError, RecursionError) as error:
        return RefusedRow(origin, "not JSON", f"not JSON: {error}")
    if not isinstance(row, dict):
        return RefusedRow(origin, "not an object", f"expected a JSON object, got {type(row).__name__}")
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_deep(row):
        return RefusedRow(origin, TOO_DEEP, f"nested more than {MAX_DEPTH} levels deep")
    return row


def _fields_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; of a field that stands there twice nobody knows which one is meant."""
    found = dict(fields)
    if len(found) < len(fields):
        names = [name for name, _ in fields]
        raise ValueError(
            f"the field {next(name for name in names if names.count(name) > 1)!r} is given twice"
        )
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        holders = [part for part in level if isinstance(part, dict | list)]
        level = [inner for part in holders for inner in (part.values() if isinstance(part, dict) else part)]
    return any(isinstance(part, dict | list) for part in level)


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def describe_tree(folder: Path) -> str:
    """Changes with name, size and time of change of every file below a folder, links followed.

    Two hundred thousand pictures take seconds this way; reading them would take as long as the build.
    """
    described = hashlib.sha256()
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(files):
            path = os.path.join(place, name)
            if not os.path.isfile(path):
                continue
            stat = os.stat(path)
            parts = (os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns)
            described.update(repr(parts).encode("utf-8", "surrogateescape"))
    return described.hexdigest()


def _mend_tail(stream: Any) -> bytes:
    """Cut a half-written last line; returns the newline that a whole but unterminated one lacks."""
    size = stream.seek(0, os.SEEK_END)
    tail = b""
    position = size
    while position > 0 and b"\n" not in tail:
        step = min(_CHUNK, position)
        position -= step
        stream.seek(position)
        tail = stream.read(step) + tail
    last_line = tail.rpartition(b"\n")[2]
    if not last_line:
        return b""
    row = _parse_line(last_line, "")
    if isinstance(row, RefusedRow) and row.reason != TOO_DEEP:
        stream.truncate(size - len(last_line))
        return b""
    return b"\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: str | Path) -> None:
    """Wait until what the system holds of a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
