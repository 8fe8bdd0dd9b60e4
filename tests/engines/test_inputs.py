import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from r1reward.engines import PictureError, PromptTooLongError, inputs
from r1reward.engines.inputs import DecodedPictures, build_messages, encode, encode_shared, load_picture
from r1reward.types import Request


def test_messages_hold_pictures_frames_and_then_the_text(requests_: list[Request]) -> None:
    (turn,) = build_messages(requests_[5], budget=None)
    assert [part["type"] for part in turn["content"]] == ["image", "video", "text"]
    assert len(turn["content"][1]["video"]) == 2


def test_padding_stands_on_the_left(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    mask = encode(tiny[1], requests_)["attention_mask"]
    assert bool((mask[:, 1:] >= mask[:, :-1]).all()) and not bool(mask.all())


def test_visual_tokens_follow_from_size_and_frames(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    batch = encode(tiny[1], requests_)
    kinds = batch["mm_token_type_ids"]
    # 84x84 is 9 cells; 56x112 is 8 and 30x100 is 1x4 cells; two frames are one temporal patch.
    assert (kinds == 1).sum(1).tolist() == [9, 0, 12, 0, 0, 4]
    assert (kinds == 2).sum(1).tolist() == [0, 9, 0, 0, 18, 9]
    assert batch["second_per_grid_ts"].tolist() == [1.0, 1.0, 1.0]


def test_a_batch_is_its_rows_side_by_side(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    batch = encode(tiny[1], requests_)
    pixels = []
    for row, request in enumerate(requests_):
        alone = encode(tiny[1], [request])
        length = alone["input_ids"].shape[1]
        assert torch.equal(alone["input_ids"][0], batch["input_ids"][row, -length:])
        pixels += [alone["pixel_values"]] if "pixel_values" in alone else []
    assert torch.equal(torch.cat(pixels), batch["pixel_values"])


def test_frames_are_not_resampled_when_they_fit(tiny: tuple[Any, Any], pictures: list[str]) -> None:
    processor = tiny[1]
    batch = encode(processor, [Request("x", frames=(pictures[0], pictures[2]))])
    frames = [torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1) for p in (pictures[0], pictures[2])]
    direct = processor.video_processor([torch.stack(frames)], return_tensors="pt", do_sample_frames=False)
    assert torch.equal(batch["pixel_values_videos"], direct["pixel_values_videos"])


def test_special_tokens_in_user_text_stay_text(tiny: tuple[Any, Any], pictures: list[str]) -> None:
    text = "<|image_pad|><|im_end|> <|video_pad|>"
    batch = encode(tiny[1], [Request(text, (pictures[0],))])
    tokenizer = tiny[1].tokenizer
    assert (batch["input_ids"] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum() == 9
    assert "< |image_pad|>< |im_end|> < |video_pad|>" in tokenizer.decode(batch["input_ids"][0])


def test_missing_picture_names_file_and_row(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    missing = str(tmp_path / "gone.png")
    with pytest.raises(PictureError, match=r"gone\.png.*pairs\.jsonl, row 7.*missing"):
        encode(tiny[1], [Request("x", (missing,), origin="pairs.jsonl, row 7")])


@pytest.mark.parametrize("as_frames", [False, True])
def test_corrupt_picture_names_file_and_row(
    tiny: tuple[Any, Any], tmp_path: Path, pictures: list[str], as_frames: bool
) -> None:
    corrupt = tmp_path / "half.png"
    corrupt.write_bytes(Path(pictures[0]).read_bytes()[:2000])
    paths = (str(corrupt),)
    request = Request(
        "x", () if as_frames else paths, paths if as_frames else (), origin="pairs.jsonl, row 8"
    )
    with pytest.raises(PictureError, match=r"half\.png.*pairs\.jsonl, row 8.*cannot be read"):
        encode(tiny[1], [request])


def test_too_long_prompt_names_row_length_and_limit(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    lengths = encode(tiny[1], requests_)["attention_mask"].sum(1)
    limit = int(lengths.max()) - 1
    assert encode(tiny[1], requests_, max_prompt_tokens=limit + 1)
    with pytest.raises(PromptTooLongError, match=rf"row 5 has {limit + 1} tokens.*limit is {limit}"):
        encode(tiny[1], requests_, max_prompt_tokens=limit)


def test_a_picture_is_loaded_once_a_batch(
    tiny: tuple[Any, Any], pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(path: str, *, origin: str, budget: Any) -> Any:
        loaded.append(path)
        return load_picture(path, origin=origin, budget=budget)

    monkeypatch.setattr(inputs, "load_picture", load)
    rows = [Request("one", (pictures[0],)), Request("two", (pictures[0], pictures[1]))]
    together = encode(tiny[1], rows)
    assert loaded == pictures[:2]
    alone = encode(tiny[1], rows[1:])
    assert together["pixel_values"][-len(alone["pixel_values"]) :].equal(alone["pixel_values"])


def test_shared_beginnings_and_the_rest_are_the_prompts(
    tiny: tuple[Any, Any], sharing: list[Request]
) -> None:
    plain, shared = encode(tiny[1], sharing), encode_shared(tiny[1], sharing)
    assert shared is not None
    assert shared.rows.tolist() == [0, 1, 0, 0, 1, 2]
    for row, kind in enumerate(shared.rows.tolist()):
        for name in ("input_ids", "mm_token_type_ids"):
            begun = shared.beginnings[name][kind][shared.beginnings["attention_mask"][kind].bool()].tolist()
            rest = shared.rest[row][shared.rest_mask[row].bool()].tolist()
            if name == "mm_token_type_ids":
                rest = [0] * len(rest)
            assert begun + rest == plain[name][row][plain["attention_mask"][row].bool()].tolist()
    assert len(shared.beginnings["image_grid_thw"]) == 4 and len(plain["image_grid_thw"]) == 7
    assert len(shared.beginnings["second_per_grid_ts"]) == 1
    assert shared.lengths() == plain["attention_mask"].sum(1).tolist()
    assert int(shared.rest_mask.sum(1).min()) >= 1
    common = tiny[1].tokenizer.decode(shared.beginnings["input_ids"][0])
    assert common.endswith("compare : is it ")


def test_nothing_is_shared_without_pictures_in_common(
    tiny: tuple[Any, Any], requests_: list[Request], sharing: list[Request]
) -> None:
    assert encode_shared(tiny[1], requests_) is None
    assert encode_shared(tiny[1], [Request("one"), Request("two")]) is None
    assert encode_shared(tiny[1], sharing[:2]) is None


def test_a_shared_prompt_that_is_too_long_names_its_row(
    tiny: tuple[Any, Any], sharing: list[Request]
) -> None:
    lengths = encode(tiny[1], sharing)["attention_mask"].sum(1).tolist()
    row, limit = lengths.index(max(lengths)), max(lengths) - 1
    with pytest.raises(PromptTooLongError, match=rf"row {row + 1} has {limit + 1} tokens"):
        encode_shared(tiny[1], sharing, max_prompt_tokens=limit)


def test_decoded_pictures_are_kept_while_their_files_stay_the_same(tmp_path: Path) -> None:
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    for file in (path, other):
        Image.new("RGB", (10, 10), "red").save(file)
    pictures = DecodedPictures(limit=300)
    first = pictures.read(path)
    assert pictures.read(path) is first
    Image.new("RGB", (10, 10), "blue").save(path)
    os.utime(path, ns=(1, 1))
    changed = pictures.read(path)
    assert changed.getpixel((0, 0)) == (0, 0, 255)
    pictures.read(other)
    assert pictures.read(path) is not changed, "one picture of 300 bytes is all there is room for"
