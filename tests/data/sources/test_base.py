import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from r1reward.data.rows import find_files, text_field
from r1reward.data.sources import OTHER_SOURCES, SOURCES, povid
from r1reward.data.sources.base import RowPair, drop_reason, make_reader, strip_image_tag
from r1reward.data.sources.pictures import find_picture, is_inside, store_picture
from r1reward.files import RefusedRow


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x.png",
        "a/../../x.png",
        "a/..",
        "C:\\x.png",
        "\\\\host\\x.png",
        "..\\x.png",
        "a\0.png",
        "",
    ],
)
def test_paths_that_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    (tmp_path / "inner").mkdir()
    assert not is_inside(name)
    with pytest.raises(ValueError, match=r"row 3.*leaves the folder"):
        find_picture(tmp_path / "inner", name, subfolders=("images",), origin="f.json, row 3")


def test_pictures_are_found_in_the_folder_and_its_subfolders(tmp_path: Path) -> None:
    (tmp_path / "images" / "deep").mkdir(parents=True)
    (tmp_path / "images" / "deep" / "a..b.png").write_bytes(b"x")
    found = find_picture(tmp_path, "deep/a..b.png", subfolders=("images",), origin="")
    assert Path(found) == tmp_path / "images" / "deep" / "a..b.png"
    with pytest.raises(ValueError, match=r"row 9: picture 'b\.png' not found"):
        find_picture(tmp_path, "b.png", subfolders=("images",), origin="f.json, row 9")


def test_embedded_pictures_are_written_once(tmp_path: Path, png: Callable[..., bytes]) -> None:
    first = Path(store_picture(png(), tmp_path, "row 1"))
    stamp = first.stat().st_mtime_ns
    assert store_picture(png(), tmp_path, "row 2") == str(first)
    assert first.stat().st_mtime_ns == stamp and first.read_bytes() == png()
    assert store_picture(png((0, 0, 9)), tmp_path, "row 3") != str(first)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_half_written_picture_is_written_again(tmp_path: Path, png: Callable[..., bytes]) -> None:
    path = Path(store_picture(png(), tmp_path, "row 1"))
    path.write_bytes(png()[:20])
    store_picture(png(), tmp_path, "row 1")
    assert path.read_bytes() == png()


@pytest.mark.parametrize("data", [b"", None, "text", b"not a picture"])
def test_faulty_picture_bytes_name_the_row(data: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"f\.parquet, row 7"):
        store_picture(data, tmp_path, "f.parquet, row 7")


def test_a_cut_picture_names_the_row(tmp_path: Path, png: Callable[..., bytes]) -> None:
    with pytest.raises(ValueError, match="row 7: the picture cannot be read"):
        store_picture(png()[:-20], tmp_path, "row 7")


def test_a_folder_without_files_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\*\.parquet or data/\*\.parquet"):
        find_files(tmp_path, "*.parquet", "data/*.parquet")


@pytest.mark.parametrize("text", ["<image>\nwhat ?", "what ?\n<image>", "<image>what ?", "what ?"])
def test_image_tags_are_stripped(text: str) -> None:
    assert strip_image_tag(text) == "what ?"


def test_drop_reasons() -> None:
    assert drop_reason("q", "a", "b") is None
    assert drop_reason(" ", "a", "b") == "empty question"
    assert drop_reason("q", "a", "\n") == "empty response"
    assert drop_reason("q", "a ", "a") == "identical responses"


def test_sources_are_the_rows_of_table_2(repository: Path) -> None:
    with (repository / "results" / "paper" / "table_02.csv").open(encoding="utf-8", newline="") as stream:
        table = {row["dataset"]: int(row["original"].replace(",", "")) for row in csv.DictReader(stream)}
    specs = [source.spec for source in SOURCES.values()]
    assert {spec.table_2_name: spec.expected_count for spec in specs} == table
    assert [spec.name for spec in specs] == list(SOURCES)
    # Table 2 of a run finds its rows by these names.
    assert [spec.table_2_name.lower().replace("-", "_") for spec in specs] == list(SOURCES)
    assert not set(OTHER_SOURCES) & set(SOURCES)


def test_a_file_that_cannot_be_read_on_is_refused_and_the_next_is_read(
    tmp_path: Path, collect: Callable[..., Any], png: Callable[..., bytes]
) -> None:
    def scan(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        yield f"{path}, row 1", {}
        if path.name == "a.json":
            raise PermissionError("no")

    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("")
    said = RowPair("q", ("a", "b"), png(), "a.png")
    read = make_reader(povid.SPEC, lambda row, number, origin: said, scan=scan)
    pairs, (note,) = collect(read, tmp_path)
    assert [pair.pair_id for pair in pairs] == ["povid-000000", "povid-000001"]
    assert (note["origin"], note["reason"]) == (str(tmp_path / "a.json"), "unreadable file")


def test_broken_unicode_is_refused() -> None:
    with pytest.raises(RefusedRow, match="row 3: q: surrogates not allowed"):
        text_field({"q": "a\ud800"}, "q", "row 3")
