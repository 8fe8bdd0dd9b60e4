"""Pictures that lie, lead outside or explode when they are opened."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from r1reward import pictures
from r1reward.data.sources.pictures import Pictures, check_picture, find_picture
from r1reward.files import RefusedRow


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(side: int) -> bytes:
    """A sound PNG header of side x side pixels with next to no data."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 80).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def _reason(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedRow) as caught:
        call()
    assert str(caught.value).startswith("row 3: ")
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_whole_pictures_pass_and_cut_ones_do_not(kind: str, tmp_path: Path) -> None:
    data = _encoded(kind)
    assert check_picture(data, "row 3") == kind.lower()
    (tmp_path / "picture").write_bytes(data)
    assert check_picture(tmp_path / "picture", "row 3") == kind.lower()
    for length in (len(data) // 2, 20, 4):
        assert _reason(lambda length=length: check_picture(data[:length], "row 3")) == "unreadable picture"


@pytest.mark.parametrize("side", [10_001, 20_000, 2**31 - 1])
def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    assert _reason(lambda: check_picture(_bomb(side), "row 3")) == "picture too large"


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 100)
    assert _reason(lambda: check_picture(_encoded("PNG"), "row 3")) == "picture too large"
    uri = "data:;base64," + "A" * 200
    assert _reason(lambda: Pictures(Path()).picture(uri, "row 3")) == "picture too large"


@pytest.mark.parametrize("data", [b"P6 4 4 255 " + bytes(48), b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n"])
def test_only_the_formats_of_the_list_are_opened(data: bytes) -> None:
    assert _reason(lambda: check_picture(data, "row 3")) == "unreadable picture"


def test_links_may_lead_to_a_subfolder_but_not_elsewhere(tmp_path: Path, png: Callable[..., bytes]) -> None:
    outside, folder = tmp_path / "disk", tmp_path / "data"
    outside.mkdir()
    folder.mkdir()
    (outside / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    os.symlink(outside, folder / "images")
    for name in ("a.png", "images/a.png"):
        found = find_picture(folder, name, subfolders=("images",), origin="row 3")
        assert Path(found).read_bytes() == png()
    os.symlink(tmp_path / "secret.png", outside / "link.png")
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    os.symlink(tmp_path, folder / "up")
    for name in ("link.png", "images/link.png", "up/secret.png"):
        reason = _reason(lambda name=name: find_picture(folder, name, subfolders=("images",), origin="row 3"))
        assert reason == "picture path leaves its folder"


def test_frames_may_not_be_links_that_lead_out(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "data" / "clip").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png())
    os.symlink(tmp_path / "secret.png", tmp_path / "data" / "clip" / "0.png")
    for name, reason in (
        ("clip", "picture path leaves its folder"),
        ("../data/clip", "picture path leaves its folder"),
        ("none", "video without frames"),
    ):
        assert _reason(lambda name=name: Pictures(tmp_path / "data").frames(name, "row 3")) == reason


@pytest.fixture
def archive(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("good.png", png())
        writer.writestr("text.png", b"text")
        writer.writestr("bomb.png", b"\0" * 1_000_000)
        writer.writestr("../up.png", png())
        writer.writestr("large.png", os.urandom(3000))
    return path


def _from(archive: Path, name: str) -> str:
    with Pictures(archive.parent, archives=(archive.name,)) as opened:
        return opened.picture(name, "row 3")


def test_entries_of_a_zip(archive: Path, png: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(_from(archive, "good.png")).read_bytes() == png()
    assert Path(_from(archive, "p/good.png")).read_bytes() == png()
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 2000)
    for name, reason in (
        ("text.png", "unreadable picture"),
        ("none.png", "picture not found"),
        ("../up.png", "picture path leaves its folder"),
        ("large.png", "picture too large"),
    ):
        assert _reason(lambda name=name: _from(archive, name)) == reason
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 2_000_000)
    assert _reason(lambda: _from(archive, "bomb.png")) == "zip bomb"


def _edited(archive: Path, name: str, *, size: int | None = None, flags: int | None = None) -> Path:
    """The zip with another declared size or other flags of one entry in its directory."""
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\x01\x02")
    while data[start + 46 : start + 46 + len(name)] != name.encode():
        start = data.index(b"PK\x01\x02", start + 4)
    if size is not None:
        data[start + 24 : start + 28] = struct.pack("<I", size)
    if flags is not None:
        data[start + 8 : start + 10] = struct.pack("<H", flags)
    archive.write_bytes(data)
    return archive


def test_an_entry_that_lies_about_its_size_gives_no_more_than_it_says(archive: Path) -> None:
    assert _reason(lambda: _from(_edited(archive, "bomb.png", size=1000), "bomb.png")) == "unreadable zip"


def test_an_encrypted_entry_is_refused(archive: Path) -> None:
    assert _reason(lambda: _from(_edited(archive, "good.png", flags=1), "good.png")) == "unreadable zip"


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100])
def test_a_broken_zip_is_refused(content: bytes, archive: Path) -> None:
    archive.write_bytes(content)
    assert _reason(lambda: _from(archive, "good.png")) == "unreadable zip"


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (3, [0, 1, 2]),
        (32, list(range(32))),
        (64, list(range(0, 64, 2))),
        (40, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18,
              20, 21, 22, 23, 25, 26, 27, 28, 30, 31, 32, 33, 35, 36, 37, 38]),
    ],
)  # fmt: skip
def test_frames_are_spread_over_the_whole_video(
    there: int, taken: list[int], tmp_path: Path, png: Callable[..., bytes]
) -> None:
    """In the order of the numbers in their names: frame 9 is before frame 10."""
    (tmp_path / "video").mkdir()
    for number in range(there):
        (tmp_path / "video" / f"frame {number}.png").write_bytes(png())
    frames = Pictures(tmp_path).frames("video", "row 1")
    assert [int(Path(frame).stem.split()[1]) for frame in frames] == taken
