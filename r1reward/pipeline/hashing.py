"""Content hashes of files and folders, remembered by size and time so that a second look is cheap."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from r1reward.files import sha256_file, write_atomic

# A file written this recently could change again within one tick of the file system's clock.
_SETTLED_NANOSECONDS = 2_000_000_000


class HashCache:
    """SHA-256 of files, looked up again only when size, time or inode changed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, list] = _read_known(file)
        self._changed = False

    def file(self, path: Path) -> str:
        """Hash of one file's content."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        key = str(path)
        known = self._known.get(key)
        if known and known[:3] == stamp:
            return known[3]
        digest = sha256_file(path)
        if time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS:
            self._known[key] = [*stamp, digest]
            self._changed = True
        return digest

    def tree(self, path: Path) -> str | None:
        """Hash of a file, or of all names and contents below a folder; None where nothing is."""
        if path.is_file():
            return self.file(path)
        if not path.is_dir():
            return None
        digest = hashlib.sha256()
        for name, file in walk(path):
            digest.update(f"{name}\0{self.file(file)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """Remember what was hashed; files that are gone are forgotten."""
        if self._changed:
            kept = {key: value for key, value in self._known.items() if os.path.exists(key)}
            write_atomic(self._file, json.dumps(kept))
            self._changed = False


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of every file below a folder, sorted by name. Temporary files are skipped."""
    found = []
    for base, _, names in os.walk(folder):
        for name in names:
            if not (name.startswith(".") and name.endswith(".tmp")):
                path = Path(base, name)
                found.append((path.relative_to(folder).as_posix(), path))
    yield from sorted(found)


def resolve(folder: Path, declared: str) -> list[Path]:
    """What exists of a declared path: the file or folder itself, or all that a pattern matches."""
    if any(mark in declared for mark in "*?["):
        return sorted(folder.glob(declared))
    path = folder / declared
    return [path] if path.exists() else []


def _read_known(file: Path) -> dict[str, list]:
    """What was hashed before; what is not as it was written is hashed again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {key: value for key, value in entries if isinstance(value, list) and len(value) == 4}
