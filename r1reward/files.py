"""Files that survive a power cut: atomic replacement, durable JSON lines, hashes.

A file written here is either the old one or the new one, never half of it. JSON lines are appended
durably; a line that a killed process left half-written is recognised and dropped on the next visit.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 20


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
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
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
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def append_jsonl(
    path: str | Path, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]], *, durable: bool = True
) -> None:
    """Append one row, or several in one write; they are on disk when the call returns.

    Without `durable` they survive a kill but maybe not a power cut. A half-written last line of a killed
    process is cut off first, so that rows never run together.
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
        prefix = _mend_tail(stream)
        stream.write(prefix + lines.encode("utf-8"))
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
    killed process) is left out. Any other fault raises a ValueError that names file and row.
    """
    path = Path(path)
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = _parse_row(line)
            except ValueError as error:
                if drop_partial and not line.endswith(b"\n"):
                    return
                raise ValueError(f"{path}, row {number}: {error}") from error
            yield row


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _parse_row(line: bytes) -> dict[str, Any]:
    row = json.loads(line.decode("utf-8"))
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object, got {type(row).__name__}")
    return row


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
    try:
        _parse_row(last_line)
    except ValueError:
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
