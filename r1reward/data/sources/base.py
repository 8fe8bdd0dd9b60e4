"""What the loaders of preference data share: specification, checks of fields and the loop over rows.

A loader says where its rows are and what a row means; everything else happens here. Good rows are
yielded and bad rows never stop a build: a row that cannot be a preference pair (a tie, an empty or a
repeated response) is dropped, a row that breaks the schema, or whose picture is missing, corrupt or
unsafe, is refused. Both are noted in the quarantine with file, row and reason.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

from r1reward.data.rows import DroppedRow, Quarantine, find_files, parse_each
from r1reward.data.sources.pictures import Pictures
from r1reward.files import RefusedRow, Row
from r1reward.types import Position, PreferencePair

IMAGE_TAG = "<image>"
_SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class FilesSpec:
    """Files of a source: one of the glob `patterns` must match in its folder.

    `hub_patterns` are the same files on the hub; there are none where they come from elsewhere, which
    `note` then says.
    """

    what: str
    patterns: tuple[str, ...]
    hub_patterns: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A data set as published.

    `folder` lies below the data root and may be shared. `hub_id` is empty for what the hub does not have.
    The first of `files` holds the rows. `expected_count` is the number of rows, of a training source that of
    the paper's Table 2 in the row `table_2_name`; None where unknown. `unverified` says what nobody has
    checked against the files. `revision` is a commit of the hub, None where none was verified.
    """

    name: str
    folder: str
    hub_id: str
    licence: str
    files: tuple[FilesSpec, ...]
    expected_count: int | None = None
    table_2_name: str = ""
    unverified: str = ""
    revision: str | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """The glob patterns of the files of rows; the first that matches any counts."""
        return self.files[0].patterns


class Reader(Protocol):
    """Reads a folder in the original schema of a source, in the order of its files.

    Pair ids are the source's name and the number of the row, from 0, over all rows of all files.
    `quarantine` collects what is left out. `cache` is where pictures from rows and zips are written (default:
    `pictures` in the folder). A folder without any file of rows is a FileNotFoundError.
    """

    def __call__(
        self, folder: Path, *, quarantine: Quarantine | None = None, cache: Path | None = None
    ) -> Iterator[PreferencePair]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A source of preference pairs: what it is and how it is read.

    `chosen_first` says that every pair comes with the chosen response first; of other sources either may be.
    """

    spec: SourceSpec
    read: Reader
    chosen_first: bool = True


@dataclass(frozen=True, slots=True)
class RowPair:
    """What a row says. `picture` is bytes, a `data:` URI or a name; of a video it is the name.

    `name` is the picture's own name, kept in the pair's `meta["image"]`. Loaders of training sources
    put the chosen response first.
    """

    question: str
    responses: tuple[str, str]
    picture: Any
    name: str
    preferred: Position = 1
    is_video: bool = False


# What a row means, given its number and its origin for errors; None if it belongs to another source.
Parse = Callable[[Mapping[str, Any], int, str], RowPair | None]


def make_reader(
    spec: SourceSpec,
    parse: Parse,
    *,
    scan: Callable[[Path], Iterator[Row]],
    subfolders: Sequence[str] = (),
    archives: Sequence[str] = (),
) -> Reader:
    """The reader of a source, whose files are read by `scan` and whose rows are understood by `parse`."""

    def read(
        folder: Path, *, quarantine: Quarantine | None = None, cache: Path | None = None
    ) -> Iterator[PreferencePair]:
        files = find_files(folder, *spec.rows)
        notes = Quarantine() if quarantine is None else quarantine
        pictures = Pictures(folder, cache=cache, subfolders=subfolders, archives=archives)

        def to_pair(number: int, row: Mapping[str, Any], origin: str) -> PreferencePair | None:
            try:
                said = parse(row, number, origin)
                if said and (reason := drop_reason(said.question, *said.responses)):
                    raise DroppedRow(reason)
            except DroppedRow as drop:
                notes.add("dropped", spec.name, origin, str(drop))
                return None
            return _to_pair(spec, said, number, pictures=pictures, origin=origin) if said else None

        def read_all() -> Iterator[PreferencePair]:
            rows = (row for path in files for row in _scan_to_the_end(scan, path))
            with pictures:
                pairs = parse_each(rows, to_pair, lambda fault: notes.refuse(spec.name, fault))
                yield from (pair for pair in pairs if pair)

        return read_all()

    return read


def is_shortage(error: BaseException) -> bool:
    """Whether a machine was short of something, which says nothing about the file that was being read."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _SHORTAGES


def _scan_to_the_end(scan: Callable[[Path], Iterator[Row]], path: Path) -> Iterator[Row]:
    """The rows of a file; where it cannot be read on, a fault of the whole file."""
    try:
        yield from scan(path)
    except OSError as error:
        if is_shortage(error):
            raise
        yield str(path), RefusedRow(str(path), "unreadable file", f"cannot be read: {error}", rows=0)


def _to_pair(
    spec: SourceSpec, said: RowPair, number: int, *, pictures: Pictures, origin: str
) -> PreferencePair:
    frames = pictures.frames(said.picture, origin) if said.is_video else ()
    return PreferencePair(
        pair_id=f"{spec.name}-{number:06d}",
        source=spec.name,
        question=said.question,
        responses=said.responses,
        preferred=said.preferred,
        images=() if said.is_video else (pictures.picture(said.picture, origin),),
        frames=frames,
        origin=origin,
        meta={"image": PureWindowsPath(said.name).name},
    )


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
