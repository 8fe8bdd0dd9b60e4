"""Verifying what is committed: records against their manifests, tables and figures against the records."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
import zlib
from functools import partial
from pathlib import Path

from r1reward.files import write_atomic
from r1reward.pipeline.places import Places, move_aside, walk
from r1reward.pipeline.publish import replace_folder
from r1reward.pipeline.rendering import DRAWN_FILES, Render, check_executed, draw
from r1reward.report.layout import take_apart
from r1reward.report.packing import RecordFiles
from r1reward.report.records import read_manifests

# Two machines may round the grey of an edge differently, by a few of 255 levels. What differs by more is ink
# that moved: it is counted in pixels, so that no amount of white beside it hides a marker or a digit.
GREY_TOLERANCE = 8
INK_TOLERANCE = 3
_SVG_NOISE = (
    re.compile(r"<dc:date>.*?</dc:date>", re.DOTALL),
    re.compile(r"<dc:title>Matplotlib v[^<]*</dc:title>"),
    re.compile(r"Matplotlib v[\d.]+, https?://matplotlib\.org/?"),
    re.compile(r"<!--.*?-->", re.DOTALL),
)
_PDF_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
_PDF_TRAILER = re.compile(rb"trailer\n.*?\nstartxref", re.DOTALL)
_PDF_NOISE = re.compile(rb"/Length \d+( 0 R)?|/(CreationDate|ModDate|Producer|Creator) \([^)]*\)")
DIFFERENT = "differs from what is drawn from the records"


class ChangedRecordsError(ValueError):
    """Records that cannot be drawn; `why` is the first error, the message says what changed in them."""

    def __init__(self, why: str, results: Path, faults: list[str]) -> None:
        super().__init__("\n".join([f"{results} cannot be drawn: {why}", *faults]))
        self.why = why


def published_profiles(places: Places, named: str = "") -> list[str]:
    """Profiles that have committed results, or the `named` one. Raises FileNotFoundError without any."""
    results = places.root / "results"
    profiles = sorted(folder.parent.name for folder in results.glob("*/manifests"))
    if named and named not in profiles:
        there = ", ".join(profiles) or "no profile"
        raise FileNotFoundError(
            f"nothing is published for {named} in {results}; there are results of {there}"
        )
    if not profiles:
        raise FileNotFoundError(f"nothing is published in {results}")
    return [named] if named else profiles


def verify(places: Places, profile: str, *, render: Render = draw) -> list[str]:
    """Faults of a profile's committed results, each as a sentence; empty when all is well."""
    results, figures = places.results(profile), places.figures(profile)
    faults = check_records(results) + check_executed(results)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            drawn = redraw(results, Path(temporary) / profile, render=render)
        except ChangedRecordsError as error:
            return [*faults, f"{results} cannot be drawn: {error.why}"]
        return faults + compare_drawn(results, figures, drawn=drawn)


def compare_drawn(results: Path, figures: Path, *, drawn: Path) -> list[str]:
    """Differences between what is committed of a profile and a folder into which it was just drawn."""
    faults = compare_folders(results / "tables", drawn / "tables")
    faults += compare_folders(figures, drawn / "figures")
    for name in DRAWN_FILES:
        faults += _compare_drawn_file(results / name, drawn / name)
    return faults


def redraw_published(places: Places, profile: str, *, render: Render = draw) -> list[Path]:
    """Draw the committed tables and figures again from the committed records; returns the folders."""
    results, figures = places.results(profile), places.figures(profile)
    with tempfile.TemporaryDirectory() as temporary:
        drawn = redraw(results, Path(temporary) / profile, render=render)
        for target, name in ((results / "tables", "tables"), (figures, "figures")):
            replace_folder(target, {"": drawn / name}, dispose=partial(_keep_strays, places.runs, target))
        for file in (drawn / name for name in DRAWN_FILES):
            if file.is_file():
                write_atomic(results / file.name, file.read_bytes())
    return [results / "tables", figures]


def _keep_strays(runs: Path, target: Path, old: Path) -> None:
    """Move files aside that nothing draws; drawn ones can be drawn again."""
    drawn = {name for name, _ in walk(target)}
    strays = {
        f"{target.parent.name}/{target.name}/{name}": file for name, file in walk(old) if name not in drawn
    }
    if strays:
        print(f"files in {target} that nothing draws are now in {move_aside(runs, strays)}")
    shutil.rmtree(old)


def redraw(results: Path, target: Path, *, render: Render) -> Path:
    """Draw the records of a results folder into the new folder `target`.

    Raises ChangedRecordsError where they cannot be drawn and are not those that the notebooks wrote.
    """
    for name in ("records", "manifests"):
        if (results / name).is_dir():
            shutil.copytree(results / name, target / name)
    try:
        render(target)
    except Exception as error:  # whatever a changed record can raise where it is read
        if faults := check_records(target):
            raise ChangedRecordsError(f"{type(error).__name__}: {error}", results, faults) from error
        raise
    for name in ("tables", "figures"):
        (target / name).mkdir(exist_ok=True)
    return target


def check_records(results: Path) -> list[str]:
    """Differences between the records and the hashes in the manifests beside them.

    The hashes are those of the files that the notebooks wrote, which packed records give back to the byte.
    """
    promised = {
        path: (digest, name)
        for name, manifest in read_manifests(results, keys=("outputs",)).items()
        for path, digest in manifest["outputs"].items()
        if path.startswith("records/")
    }
    try:
        files = RecordFiles(results / "records")
        present = {f"records/{name}": hashlib.sha256(files.content(name)).hexdigest() for name in files.names}
    except ValueError as error:  # a damaged table
        return [str(error)]
    faults = [f"{path}: missing, although {promised[path][1]} wrote it" for path in promised.keys() - present]
    faults += [f"{path}: no manifest knows it" for path in present.keys() - promised.keys()]
    for path in sorted(promised.keys() & present.keys()):
        if present[path] != promised[path][0]:
            faults.append(f"{path}: differs from what {promised[path][1]} wrote")
    return faults


def compare_folders(committed: Path, drawn: Path) -> list[str]:
    """Differences between committed and newly drawn files, by the rule of their kind."""
    old, new = dict(walk(committed)), dict(walk(drawn))
    faults = [f"{committed / name}: missing" for name in sorted(new.keys() - old.keys())]
    faults += [f"{committed / name}: nothing draws it" for name in sorted(old.keys() - new.keys())]
    for name in sorted(old.keys() & new.keys()):
        difference = compare_files(old[name], new[name])
        if difference:
            faults.append(f"{old[name]}: {difference}")
    return faults


def _compare_drawn_file(committed: Path, drawn: Path) -> list[str]:
    if not drawn.is_file():
        return [f"{committed}: nothing draws it"] if committed.is_file() else []
    difference = compare_files(committed, drawn) if committed.is_file() else "missing"
    return [f"{committed}: {difference}"] if difference else []


def compare_files(committed: Path, drawn: Path) -> str:
    """How two files of one name differ to a reader, "" when they agree.

    SVG is compared without dates and version marks, also inside the page, PNG by the ink that moved, PDF by
    its objects without dates and compression, everything else byte by byte.
    """
    old, new = committed.read_bytes(), drawn.read_bytes()
    if old == new:
        return ""
    try:
        return _COMPARISONS[committed.suffix](old, new) if committed.suffix in _COMPARISONS else DIFFERENT
    except (ValueError, OSError, zlib.error) as error:
        return f"cannot be read: {error}"


def _compare_svg(old: bytes, new: bytes) -> str:
    return "" if normalise_svg(old) == normalise_svg(new) else DIFFERENT


def _compare_page(old: bytes, new: bytes) -> str:
    return "" if _parts(old) == _parts(new) else DIFFERENT


def _compare_pdf(old: bytes, new: bytes) -> str:
    return "" if pdf_objects(old) == pdf_objects(new) else DIFFERENT


def pdf_objects(content: bytes) -> list[bytes]:
    """The numbered objects and the trailer of a PDF by matplotlib.

    Streams are unpacked, dates, makers and lengths left out. Raises ValueError for a file without objects,
    zlib.error for a stream that cannot be unpacked.
    """
    objects = []
    for number, body in _PDF_OBJECT.findall(content):
        about, is_stream, packed = body.partition(b"\nstream\n")
        if b"/FlateDecode" in about:
            packed = zlib.decompressobj().decompress(packed)
        if not body.isdigit():
            objects.append(number + b" " + _PDF_NOISE.sub(b"", about) + is_stream + packed)
    if not objects:
        raise ValueError("no PDF")
    return objects + _PDF_TRAILER.findall(content)


def _parts(page: bytes) -> tuple[str, list[str]]:
    text, figures = take_apart(page.decode("utf-8"))
    return text, [normalise_svg(figure) for figure in figures]


def normalise_svg(content: bytes) -> str:
    """An SVG without dates, version marks and comments."""
    text = content.decode("utf-8")
    for noise in _SVG_NOISE:
        text = noise.sub("", text)
    return text


def _compare_pictures(old: bytes, new: bytes) -> str:
    import numpy as np
    from PIL import Image

    one, other = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), dtype=float) for data in (old, new)
    )
    if one.shape != other.shape:
        return f"has {one.shape[1]}x{one.shape[0]} pixels, drawn {other.shape[1]}x{other.shape[0]}"
    moved = int((np.abs(one - other).max(axis=-1) > GREY_TOLERANCE).sum())
    return f"differs by the ink of {moved} pixels" if moved > INK_TOLERANCE else ""


_COMPARISONS = {
    ".svg": _compare_svg,
    ".png": _compare_pictures,
    ".pdf": _compare_pdf,
    ".html": _compare_page,
}
