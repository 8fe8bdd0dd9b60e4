"""What a picture is shown as, and which are refused, with the same pixels at every door."""

import base64
import io
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import r1reward.torchvision_ops  # noqa: F401

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from qwen_vl_utils.vision_process import smart_resize

from r1reward import pictures
from r1reward.pictures import (
    Budget,
    PictureFault,
    check_picture,
    common_form,
    picture_size,
    read_picture,
    reference,
)

ORIENTATION = 0x0112


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes | str | Path) -> np.ndarray:
    return np.asarray(read_picture(data))


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_ordinary_picture_has_the_pixels_of_its_file(kind: str) -> None:
    data = saved(noise(40, 30), kind)
    assert (pixels(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()
    assert common_form(data) == (data, kind.lower())


def _palette() -> Image.Image:
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    return picture


CLEAR: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: saved(_two("RGBA", (0, 0, 0, 0), (0, 0, 255, 255))),
    "LA": lambda: saved(_two("LA", (0, 0), (29, 255))),
    "palette": lambda: saved(_palette(), transparency=0),
    "palette with many": lambda: saved(_palette(), transparency=bytes([0, 255])),
    "GIF": lambda: saved(_palette(), "GIF", transparency=0),
    "RGB with a clear colour": lambda: saved(_two("RGB", (0, 0, 0), (0, 0, 255)), transparency=(0, 0, 0)),
    "grey with a clear value": lambda: saved(_two("L", 0, 29), transparency=0),
    "WEBP": lambda: saved(_two("RGBA", (0, 0, 0, 0), (0, 0, 255, 255)), "WEBP", lossless=True),
    "16 bits with a clear value": lambda: saved(
        Image.fromarray(np.array([[0, 29 * 257]], dtype=np.uint16)), transparency=0
    ),
}


def _two(mode: str, first: Any, second: Any) -> Image.Image:
    picture = Image.new(mode, (2, 1), first)
    picture.putpixel((1, 0), second)
    return picture


@pytest.mark.parametrize("kind", CLEAR)
def test_what_is_clear_is_white(kind: str) -> None:
    clear, drawn = pixels(CLEAR[kind]())[0].tolist()
    assert clear == [255, 255, 255] and drawn in ([0, 0, 255], [29, 29, 29])
    other, form = common_form(CLEAR[kind]())
    assert form == "png" and np.asarray(Image.open(io.BytesIO(other))).tolist() == [[clear, drawn]]


def test_half_clear_is_mixed_with_white() -> None:
    data = saved(Image.new("RGBA", (1, 1), (255, 0, 0, 51)))
    assert pixels(data)[0, 0].tolist() == [255, 204, 204]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_orientation_is_applied_once(kind: str, orientation: int) -> None:
    picture = Image.new("RGB", (80, 40), "white")
    picture.paste("red", (0, 0, 20, 10))  # the upper left corner
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(picture, kind, exif=exif)
    corner = {2: (79, 0), 3: (79, 39), 6: (39, 0), 8: (0, 79)}[orientation]
    size = (40, 80) if orientation > 4 else (80, 40)
    shown, (other, _) = read_picture(data), common_form(data)
    for seen in (shown, Image.open(io.BytesIO(other)), read_picture(other)):
        red, green, _ = seen.getpixel(corner)
        assert seen.size == picture_size(data) == size and red > 200 > 100 > green


def test_broken_exif_costs_nothing() -> None:
    data = saved(noise(8, 8), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels(data).shape == (8, 8, 3)


def test_sixteen_bits_are_scaled_and_not_cut() -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    assert pixels(saved(Image.fromarray(values)))[0, :, 0].tolist() == [0, 100, 255]
    floats = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    assert pixels(saved(Image.fromarray(floats), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    assert common_form(saved(Image.fromarray(values)))[1] == "png"


def test_inks_become_light() -> None:
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    red, green, blue = pixels(data)[4, 4].tolist()
    assert red > 200 and green < 60 and blue < 60
    assert common_form(data)[1] == "png"


def test_of_an_animation_the_first_frame_is_shown() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = pixels(data)[0, 0].tolist()
        assert red > 240 and blue < 15
        assert getattr(Image.open(io.BytesIO(common_form(data)[0])), "n_frames", 1) == 1


@settings(max_examples=300)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from([(784, 7056), (784, 501_760), (3136, 12_845_056)]),
)
def test_sizes_are_those_of_qwen_vl_utils(width: int, height: int, limits: tuple[int, int]) -> None:
    try:
        height_, width_ = smart_resize(height, width, 28, *limits)
    except ValueError:
        height_ = width_ = 0
    if width_ and height_:
        assert Budget(*limits).fit(width, height) == (width_, height_)
    else:
        with pytest.raises(PictureFault):
            Budget(*limits).fit(width, height)


def test_a_large_picture_is_sent_at_the_budget() -> None:
    data, budget = saved(noise(400, 300)), Budget(784, 50_000)
    sent, kind = common_form(data, budget=budget)
    assert kind == "png" and picture_size(sent) == budget.fit(400, 300) == (252, 168)
    assert (pixels(sent) == np.asarray(read_picture(data).resize((252, 168)))).all()
    assert common_form(data, budget=Budget(784, 200_000)) == (data, "png"), "it fits: the file itself"
    assert picture_size(common_form(saved(noise(28, 28)), budget=Budget(7056, 9000))[0]) == (84, 84)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "1 x 201": (lambda: saved(Image.new("RGB", (1, 201))), "1 x 201 pixels"),
    "13,000 x 13,000": (lambda: saved(Image.new("1", (13_000, 13_000))), "13000 x 13000 pixels"),
    "EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n", "no picture of the formats"),
    "half": (lambda: saved(noise(64, 64))[:2000], "cannot be read"),
    "a flipped byte": (lambda: _flipped(saved(noise(64, 64)), 60), "cannot be read"),
    "a number that is none": (lambda: saved(Image.new("F", (8, 8), float("nan")), "TIFF"), "not numbers"),
    "empty": (lambda: b"", "cannot be read"),
}  # fmt: skip


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_at_every_door(kind: str, tmp_path: Path) -> None:
    data, said = REFUSED[kind][0](), REFUSED[kind][1]
    (tmp_path / "a.png").write_bytes(data)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    for picture in (data, tmp_path / "a.png", str(tmp_path / "a.png"), uri):
        for door in (read_picture, check_picture, common_form):
            with pytest.raises(PictureFault, match=said):
                door(picture)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (
        tmp_path / "pipe.png",
        Path("/dev/zero"),
        tmp_path,
        tmp_path / "a\0b",
        tmp_path / ("x" * 999),
    ):
        with pytest.raises(PictureFault, match="cannot be read"):
            read_picture(path)
    with pytest.raises(PictureFault, match="is missing"):
        read_picture(tmp_path / "none.png")
    for address in ("https://example.org/a.png", "HTTP://example.org/a.png", "s3://bucket/a.png"):
        with pytest.raises(PictureFault, match="save the picture"):
            read_picture(address)


# Ways in which the same bytes are written in base64 by what people have: browsers, mail, HF, qwen-vl-utils.
WRITTEN: dict[str, Callable[[str], str]] = {
    "another kind": lambda text: f"data:text/plain;base64,{text}",
    "no kind": lambda text: f"data:;base64,{text}",
    "any kind": lambda text: f"data:image/*;base64,{text}",
    "a parameter": lambda text: f"data:image/png;charset=utf-8;base64,{text}",
    "parameters": lambda text: f'data:image/png; name="a b.png"; x=1; base64,{text}',
    "capitals": lambda text: f"DATA:IMAGE/PNG;BASE64,{text}",
    "lines": lambda text: "data:image/png;base64," + "\r\n".join(textwrap.wrap(text, 76)) + "\n",
    "a space": lambda text: f" data:image/png;base64, {text}",
    "no padding": lambda text: f"data:image/png;base64,{text.rstrip('=')}",
    "the alphabet of addresses": lambda text: f"data:;base64,{text.replace('+', '-').replace('/', '_')}",
    "escapes": lambda text: f"data:image/png;base64,{quote(text, safe='')}",
}


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("size", [7, 8, 9])
def test_a_picture_in_base64_is_read_however_it_is_written(kind: str, size: int) -> None:
    data = saved(noise(size, 5))
    uri = WRITTEN[kind](base64.b64encode(data).decode())
    assert pictures.is_data_uri(uri) and (pixels(uri) == pixels(data)).all()


def test_what_is_no_base64_is_refused_and_not_repeated() -> None:
    for wrong in ("data:image/png;base64,a", "data:image/png;base64,äöü", "data:image/png;base64,"):
        with pytest.raises(PictureFault, match=r"base64|no picture"):
            read_picture(wrong)
    for name in ("data:image/png;base64," + "A" * 99, "A" * 5000):
        assert len(pictures.short_name(name)) < 70 and str(len(name)) in pictures.short_name(name)


@pytest.mark.parametrize("start", ["file://", "file:", "FILE://", "file://localhost"])
def test_the_address_of_a_file_is_its_path(start: str, tmp_path: Path) -> None:
    (tmp_path / "a b%.png").write_bytes(saved(noise(8, 8)))
    assert (pixels(f"{start}{quote(str(tmp_path / 'a b%.png'))}") == np.asarray(noise(8, 8))).all()
    with pytest.raises(PictureFault, match="is missing"):
        read_picture(f"{start}{tmp_path}/none.png")


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_a_fault_of_the_machine_is_not_one_of_the_picture(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(saved(noise(8, 8)))

    def fail(*_: object, **__: object) -> None:
        raise error

    place = "builtins.open" if isinstance(error, OSError) else "PIL.Image.open"
    for door in (read_picture, check_picture, common_form):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(type(error)) as caught:
                door(tmp_path / "a.png")
        assert caught.value is error


def test_a_file_is_read_no_further_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 100)
    (tmp_path / "a.png").write_bytes(saved(noise(64, 64)))
    with pytest.raises(PictureFault, match="bytes, more than 100"):
        read_picture(tmp_path / "a.png")


def test_bytes_uris_and_pillow_pictures_are_named(tmp_path: Path) -> None:
    picture = noise(10, 6)
    data = saved(picture)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    for given_ in (data, bytearray(data), memoryview(data), picture, uri):
        assert (pixels(reference(given_)) == np.asarray(picture)).all()
    assert reference(tmp_path / "a.png") == str(tmp_path / "a.png")
    clear = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    assert pixels(reference(clear)).min() == 255
    for broken in (Image.open(io.BytesIO(saved(noise(64, 64), "JPEG")[:900])), Image.new("RGB", (0, 3))):
        with pytest.raises(PictureFault, match="cannot be read"):
            reference(broken)
    for wrong in (3, None, np.zeros((3, 3))):
        with pytest.raises(ValueError, match="a picture is a path"):
            reference(wrong)
