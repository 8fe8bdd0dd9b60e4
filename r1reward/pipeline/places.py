"""Where everything lies: the names of the folders, the hashes of what is in them, and moving it aside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from r1reward.files import sha256_file, write_atomic

ROOT_VARIABLE = "R1REWARD_ROOT"
RUNS_VARIABLE = "R1REWARD_RUNS"
# Records of finished runs of grids that are not published yet, below results/<profile>/.
KEPT = "runs"
_PRINTED = "paper"
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of a checkout. `runs` may lie elsewhere, for example on a larger disk."""

    root: Path
    runs: Path

    @property
    def notebooks(self) -> Path:
        """Folder of the notebooks and of pipeline.toml, their table."""
        return self.root / "notebooks"

    @property
    def printed(self) -> Path:
        """What the paper prints: its tables and values. No run is published there."""
        return self.root / "results" / _PRINTED

    def results(self, profile: str) -> Path:
        """Committed records, tables and manifests of a profile."""
        return self.root / "results" / _folder_of(profile)

    def figures(self, profile: str) -> Path:
        """Committed figures of a profile."""
        return self.root / "figures" / _folder_of(profile)


def _folder_of(profile: str) -> str:
    """A run of the profile `paper` does not take the place of what the paper prints."""
    return f"{profile}_run" if profile == _PRINTED else profile


def find_places(root: str | Path | None = None) -> Places:
    """The folders of this checkout.

    R1REWARD_ROOT names another checkout and R1REWARD_RUNS another folder for the runs. Raises
    FileNotFoundError where no notebooks lie; where one is named, no other checkout takes its place.
    """
    named = root or os.environ.get(ROOT_VARIABLE)
    for candidate in [named] if named else [PACKAGE_FOLDER.parent, Path.cwd()]:
        folder = Path(candidate).resolve()
        if (folder / "notebooks" / "pipeline.toml").is_file():
            runs = os.environ.get(RUNS_VARIABLE)
            return Places(folder, Path(runs).resolve() if runs else folder / "runs")
    if named:
        raise FileNotFoundError(f"{ROOT_VARIABLE}: {named} is no checkout, it has no notebooks/pipeline.toml")
    raise FileNotFoundError(
        f"no notebooks/pipeline.toml here; run the command in a checkout or set {ROOT_VARIABLE} to one"
    )


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


ASIDE = "aside"


def move_aside(folder: Path, moved: Mapping[str, Path]) -> Path:
    """Move files and folders to `folder`/aside/<date>/<name> and return the dated folder.

    On one file system nothing is copied. What does not exist is passed over.
    """
    target = _dated(folder / ASIDE)
    for name, path in moved.items():
        if path.exists() or path.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target / name)
    return target


def _dated(folder: Path) -> Path:
    """A new folder that is called after the time, with a number where several are made in a second."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{name}.{number}")
        try:
            target.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return target
