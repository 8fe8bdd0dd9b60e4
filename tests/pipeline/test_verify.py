"""`verify` sees what a reader sees: the published results are drawn once, every planted change is found."""

import base64
import io
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r1reward.pipeline.rendering import DRAWN_FILES, draw
from r1reward.pipeline.verify import (
    check_records,
    compare_drawn,
    compare_files,
    pdf_objects,
    redraw,
)

Plant = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def drawn(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published records of mini, drawn here."""
    return redraw(repository / "results" / "mini", tmp_path_factory.mktemp("drawn") / "mini", render=draw)


def test_what_is_published_follows_from_its_records(repository: Path, drawn: Path) -> None:
    results = repository / "results" / "mini"
    assert check_records(results) == []
    assert compare_drawn(results, repository / "figures" / "mini", drawn=drawn) == []


def replaced(old: str, new: str) -> Plant:
    def plant(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return plant


def moved_marker(content: bytes) -> bytes:
    """A marker in StableReinforce's blue, 12 pixels to the right of its place."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).copy()
    blue = (pixels[..., :3] == (0x00, 0x72, 0xB2)).all(-1)
    windows = np.lib.stride_tricks.sliding_window_view(blue, (5, 5)).all((-1, -2))
    row, column = np.argwhere(windows)[0]
    box = slice(row - 6, row + 12), slice(column - 8, column + 12)
    marker = pixels[box].copy()
    pixels[box] = 255
    pixels[box[0], column + 4 : column + 24] = marker
    return png(pixels)


def faint_cell(content: bytes) -> bytes:
    """The inside of one cell of a matrix in another shade."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).copy()
    pixels[300:310, 300:310, :3] = pixels[300:310, 300:310, :3] // 2 + 60
    return png(pixels)


def noise(content: bytes) -> bytes:
    """Greys that another machine rounds otherwise."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)
    grey = (pixels[..., :3] > 20).all(-1) & (pixels[..., :3] < 235).all(-1)
    pixels[grey, :3] += np.random.default_rng(0).integers(-7, 8, (int(grey.sum()), 1))
    return png(pixels.astype(np.uint8))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def in_pdf(change: Plant, *, level: int = 6) -> Plant:
    """A change of the page's drawing commands, packed again."""

    def plant(content: bytes) -> bytes:
        start = content.index(b"stream\n", content.index(b"9 0 obj")) + len(b"stream\n")
        unpacker = zlib.decompressobj()
        page = unpacker.decompress(content[start:])
        return content[:start] + zlib.compress(change(page), level) + unpacker.unused_data

    return plant


def in_page(change: Plant) -> Plant:
    """A change of the first figure that the page embeds."""

    def plant(content: bytes) -> bytes:
        found = re.search(rb'src="data:image/svg[+]xml;base64,([^"]*)"', content)
        assert found
        return content.replace(found[1], base64.b64encode(change(base64.b64decode(found[1]))), 1)

    return plant


PLANTS: dict[str, tuple[str, Plant]] = {
    "a moved marker": ("figures/extra_comparison.png", moved_marker),
    "another shade": ("figures/extra_base_model.png", faint_cell),
    "a letter of an SVG": ("figures/figure_1.svg", replaced('#DejaVuSans-39"', '#DejaVuSans-38"')),
    "a line of an SVG": ("figures/figure_2.svg", replaced("L 1", "L 2")),
    "a digit of a PDF": ("figures/figure_1.pdf", in_pdf(replaced("(\0009)", "(\0008)"))),
    "a point of a PDF": ("figures/figure_3.pdf", in_pdf(replaced("7.", "8."))),
    "an added object of a PDF": ("figures/figure_3.pdf", lambda content: content + b"9 0 obj\n1 1\nendobj"),
    "no PDF": ("figures/figure_4.pdf", lambda content: b"%PDF-1.4"),
    "half a PNG": ("figures/figure_4.png", lambda content: content[:5000]),
    "a number of a table": ("tables/table_03.csv", replaced("1", "2")),
    "a note below a table": ("tables/table_05.md", replaced("Collapsed:", "Collapses:")),
    "a cell in LaTeX": ("tables/table_07.tex", replaced("0.50", "0.51")),
    "a sentence of the page": ("index.html", replaced("Every number is", "Some are")),
    "a figure of the page": ("index.html", in_page(replaced('#DejaVuSans-39"', '#DejaVuSans-38"'))),
    "a verdict": ("claims.json", replaced('"undecided"', '"holds"')),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_is_found(repository: Path, drawn: Path, tmp_path: Path, name: str) -> None:
    place, plant = PLANTS[name]
    file = committed(repository, place)
    planted = tmp_path / file.name
    planted.write_bytes(plant(file.read_bytes()))
    assert compare_files(file, drawn / place) == ""
    assert compare_files(planted, drawn / place) != ""


def committed(repository: Path, place: str) -> Path:
    folder, _, name = place.rpartition("/")
    return repository / ("figures/mini" if folder == "figures" else f"results/mini/{folder}") / name


def test_what_another_machine_may_do_differently_is_no_difference(
    repository: Path, drawn: Path, tmp_path: Path
) -> None:
    for place, harmless in {
        "figures/figure_1.png": noise,
        "figures/figure_1.pdf": in_pdf(lambda page: page, level=1),
        "figures/figure_1.svg": replaced("<defs>", "<!-- Matplotlib --><defs>"),
    }.items():
        file = committed(repository, place)
        planted = tmp_path / file.name
        planted.write_bytes(harmless(file.read_bytes()))
        assert planted.read_bytes() != file.read_bytes() and compare_files(planted, drawn / place) == ""


def test_missing_and_surplus_files_are_named(repository: Path, drawn: Path, tmp_path: Path) -> None:
    results, figures = tmp_path / "results", tmp_path / "figures"
    shutil.copytree(repository / "results/mini/tables", results / "tables")
    shutil.copytree(repository / "figures/mini", figures)
    (results / "tables" / "table_04.md").unlink()
    (figures / "figure_9.png").write_bytes(b"")
    found = compare_drawn(results, figures, drawn=drawn)
    assert [fault.removeprefix(f"{tmp_path}/") for fault in found] == [
        "results/tables/table_04.md: missing",
        "figures/figure_9.png: nothing draws it",
        *(f"results/{name}: missing" for name in DRAWN_FILES),
    ]
    empty = tmp_path / "empty"
    (empty / "tables").mkdir(parents=True)
    (empty / "figures").mkdir()
    (empty / "claims.json").write_text("[]")
    assert (
        compare_drawn(empty, empty / "figures", drawn=tmp_path)[-1]
        == f"{empty}/claims.json: nothing draws it"
    )


def test_a_page_of_a_pdf_is_read(repository: Path) -> None:
    objects = pdf_objects(committed(repository, "figures/figure_1.pdf").read_bytes())
    assert sum(b"BT\n/F1" in one for one in objects) == 1, "the page's text is unpacked"


def test_exchanged_objects_of_a_pdf_are_found(repository: Path, tmp_path: Path) -> None:
    """Two glyphs of a font change places when their numbers do, and the trailer names the page."""
    file = committed(repository, "figures/figure_1.pdf")
    content = file.read_bytes()
    numbers = [found[1] for found in re.finditer(rb"\n(\d+) 0 obj\n<< /Length", content)][:2]
    one, other = (b"\n%s 0 obj\n" % number for number in numbers)
    planted = tmp_path / file.name
    planted.write_bytes(content.replace(one, b"@@@").replace(other, one).replace(b"@@@", other))
    assert compare_files(planted, file) != ""
    planted.write_bytes(content.replace(b"/Root 1 0 R", b"/Root 2 0 R"))
    assert compare_files(planted, file) != ""
