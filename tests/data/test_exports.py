import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Image, List, load_dataset, load_from_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from r1reward.data.exports import FORMS, export_items
from r1reward.data.storage import Item, SFTExample, item_from_row, iterate_items, write_pairs
from r1reward.engines.loading import load_processor
from r1reward.files import read_json, read_jsonl, write_atomic
from r1reward.prompts import judge_prompt
from r1reward.types import PreferencePair

text = st.text(max_size=20) | st.sampled_from(
    ["<image>", "a <|im_end|> b", "{question}", "< image>", "\u2028\r\n"]
)
content = st.builds(
    lambda shade, kind: _picture(PILImage.new("RGB", (2, 3), (shade, 0, 9)), kind),
    st.integers(0, 255),
    st.sampled_from(["PNG", "JPEG"]),
)
meta = st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | st.none() | text | st.lists(st.booleans()))


def _picture(picture: PILImage.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@st.composite
def items(draw: st.DrawFn) -> tuple[Item, list[bytes], int]:
    """An item without its pictures, the bytes of pictures and frames, and how many of them are pictures."""
    pictures = draw(st.lists(content, max_size=3))
    pair = PreferencePair(
        pair_id=draw(text),
        source=draw(text),
        question=draw(text),
        responses=(draw(text), draw(text)),
        preferred=draw(st.sampled_from([1, 2])),
        category=draw(text),
        origin=draw(text),
        meta=draw(meta),
    )
    item = SFTExample(pair, draw(text)) if draw(st.booleans()) else pair
    return item, pictures, draw(st.integers(0, len(pictures)))


def with_pair(item: Item, change: Callable[[PreferencePair], PreferencePair]) -> Item:
    return replace(item, pair=change(item.pair)) if isinstance(item, SFTExample) else change(item)


def without_paths(item: Item) -> Item:
    return with_pair(item, lambda pair: replace(pair, images=(), frames=()))


def write_pictures(given: list[tuple[Item, list[bytes], int]], folder: Path) -> list[Item]:
    written = []
    for number, (item, pictures, images) in enumerate(given):
        paths = [
            str(write_atomic(folder / f"{number}_{index}.png", data)) for index, data in enumerate(pictures)
        ]
        written.append(
            with_pair(
                item,
                lambda pair, paths=paths, images=images: replace(
                    pair, images=tuple(paths[:images]), frames=tuple(paths[images:])
                ),
            )
        )
    return written


def read_back(out: Path, form: str) -> list[tuple[Item, list[bytes]]]:
    """The items that an export carries, with the pictures of its rows as bytes."""
    if form == "arrow":
        data: Any = load_from_disk(str(out)).with_format("arrow")
        rows = [row for batch in data.iter(64) for row in batch.to_pylist()]
        return [
            (
                item_from_row({**row, "images": [], "frames": [], "meta": json.loads(row["meta"])}, out),
                [one["bytes"] for one in (*row["images"], *row["frames"])],
            )
            for row in rows
        ]
    rows = read_jsonl(out / "data.jsonl")
    return [(item_from_row(json.loads(row["pair"]), out), pictures_of(row, form)) for row in rows]


def pictures_of(row: dict[str, Any], form: str) -> list[bytes]:
    if form == "authors":
        parts = json.loads(row["message"])[0]["content"][1:]
        packed = [row["image"]] if len(parts) == 1 else json.loads(row["image"])
        return [base64.b64decode(data, validate=True) for data in packed]
    return [Path(path).read_bytes() for path in row["images"]]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(given=st.lists(items(), min_size=1, max_size=4), prompt=st.sampled_from(["mini", "paper"]))
def test_nothing_is_lost(form: str, given, prompt, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("export")
    whole = write_pictures(given, folder / "pictures")
    out = export_items(iter(whole), folder / "out", form=form, prompt=prompt)
    back = read_back(out, form)
    if form != "arrow":
        assert [item for item, _ in back] == whole
    assert [(without_paths(item), pictures) for item, pictures in back] == [
        (item, pictures) for item, pictures, _ in given
    ]


@pytest.fixture
def example(tmp_path: Path, png: Callable[..., bytes]) -> SFTExample:
    picture = write_atomic(tmp_path / "a.png", png())
    pair = PreferencePair("a-1", "a", "What is <image> ?", ("one", "two"), 2, (str(picture),), meta={"k": 1})
    return SFTExample(pair, "<think>t</think><answer>2</answer>")


def one_row(item: Item, out: Path, form: str) -> dict:
    (row,) = read_jsonl(export_items([item], out, form=form, prompt="paper") / "data.jsonl")
    return row


def test_the_answer_of_a_trl_row_is_its_completion(example: SFTExample, tmp_path: Path) -> None:
    row = one_row(example, tmp_path / "out", "trl")
    prompt = judge_prompt(example.pair, name="paper").replace("<image>", "< image>")
    assert row["prompt"] == [{"role": "user", "content": prompt}]
    assert row["completion"] == [{"role": "assistant", "content": example.completion}]
    assert row["images"] == [str(tmp_path / "a.png")]


def test_preferences_are_the_responses_themselves(example: SFTExample, tmp_path: Path) -> None:
    """Response 2 is preferred."""
    row = one_row(example, tmp_path / "out", "trl_preference")
    said = {name: row[name] for name in ("prompt", "chosen", "rejected")}
    assert said == {
        "prompt": [{"role": "user", "content": "What is < image> ?"}],
        "chosen": [{"role": "assistant", "content": "two"}],
        "rejected": [{"role": "assistant", "content": "one"}],
    }
    row = one_row(example.pair.swapped(), tmp_path / "swapped", "trl_preference")
    assert row["chosen"][0]["content"] == "two"
    row = one_row(example, tmp_path / "other", "llama_factory_preference")
    info = read_json(tmp_path / "other" / "dataset_info.json")["r1_reward"]
    assert info["ranking"] is True
    assert row[info["columns"]["messages"]] == [{"from": "human", "value": "<image>What is < image> ?"}]
    assert row[info["columns"]["chosen"]] == {"from": "gpt", "value": "two"}
    assert row[info["columns"]["rejected"]] == {"from": "gpt", "value": "one"}


@pytest.fixture
def trl_batch(example: SFTExample, tmp_path: Path) -> Callable[..., Any]:
    """What TRL's own collator makes of two exported rows, the second with the responses exchanged."""
    pytest.importorskip("trl", reason="trl is not installed: pip install -e .[bench]")
    from trl.trainer import dpo_trainer, sft_trainer  # noqa: PLC0415

    def make(form: str) -> Any:
        out = export_items(
            [example, replace(example, pair=example.pair.swapped())], tmp_path / form, form=form
        )
        data = load_dataset(
            "json", data_files=str(out / "data.jsonl"), split="train", cache_dir=str(tmp_path / "c")
        )
        data = data.remove_columns("pair").cast_column("images", List(Image()))
        processor = load_processor("mini")
        if form == "trl":
            collator = sft_trainer.DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
        else:
            collator = dpo_trainer.DataCollatorForVisionPreference(processor)
        return processor.tokenizer, collator(list(data))

    return make


def test_trl_learns_the_answer_and_not_the_prompt(example: SFTExample, trl_batch: Callable[..., Any]) -> None:
    tokenizer, batch = trl_batch("trl")
    for labels, ids in zip(batch["labels"], batch["input_ids"], strict=True):
        learnt = tokenizer.decode(labels[labels != -100])
        assert learnt.removesuffix("\n").removesuffix("<|im_end|>") == tokenizer.decode(
            tokenizer(example.completion)["input_ids"]
        )
        assert (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum() > 0


def test_trl_compares_the_chosen_response_with_the_rejected(trl_batch: Callable[..., Any]) -> None:
    tokenizer, batch = trl_batch("trl_preference")
    said = [
        tokenizer.decode(ids[mask.bool()]).replace("<|im_end|>", "").strip()
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    two, one = (tokenizer.decode(tokenizer(text)["input_ids"]) for text in ("two", "one"))
    assert said == [two, two, one, one]


def test_llama_factory_finds_its_columns(example: SFTExample, tmp_path: Path) -> None:
    row = one_row(example, tmp_path / "out", "llama_factory")
    info = read_json(tmp_path / "out" / "dataset_info.json")["r1_reward"]
    assert info["formatting"] == "sharegpt" and (tmp_path / "out" / info["file_name"]).is_file()
    human, gpt = row[info["columns"]["messages"]]
    assert human["value"].count("<image>") == len(row[info["columns"]["images"]]) == 1
    assert (human["from"], gpt) == ("human", {"from": "gpt", "value": example.completion})


def test_openrlhf_gets_prompt_pictures_and_label(example: SFTExample, tmp_path: Path) -> None:
    row = one_row(example.pair, tmp_path / "out", "openrlhf")
    assert [part["type"] for part in row["prompt"][0]["content"]] == ["image", "text"]
    assert row["images"] == [str(tmp_path / "a.png")] and row["label"] == "2"


def test_the_authors_columns_are_those_of_their_release(example: SFTExample, tmp_path: Path) -> None:
    row = one_row(example.pair, tmp_path / "out", "authors")
    (turn,) = json.loads(row["message"])
    assert [part["type"] for part in turn["content"]] == ["text", "image"]
    assert row["answer"] == ["<answer>2</answer>"] and row["question"] == example.pair.question
    assert base64.b64decode(row["image"]) == (tmp_path / "a.png").read_bytes()


def test_a_bare_pair_is_answered_by_its_label(example: SFTExample, tmp_path: Path) -> None:
    row = one_row(example.pair, tmp_path / "out", "llama_factory")
    assert row["conversations"][1]["value"] == "<answer>2</answer>"


def test_arrow_holds_pictures_and_can_be_replaced(example: SFTExample, tmp_path: Path) -> None:
    for count in (1, 2):
        export_items([example] * count, tmp_path / "out", form="arrow")
        (tmp_path / "a.png").touch()
        data = load_from_disk(str(tmp_path / "out"))
        assert len(data) == count and data[0]["images"][0].size == (28, 28)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "out"}


def test_a_row_of_arrow_is_the_whole_item(example: SFTExample, tmp_path: Path) -> None:
    """Pictures are pictures and frames are frames, each with its own name."""
    files = {name: write_atomic(tmp_path / name, _picture(PILImage.new("RGB", (8, high)), "PNG"))
             for name, high in (("p.png", 4), ("f.png", 6), ("g.png", 7))}  # fmt: skip
    shown = {"images": (str(files["p.png"]),), "frames": (str(files["f.png"]), str(files["g.png"]))}
    pair = replace(example.pair, **shown, category="c", origin=f"{tmp_path}/o, row 1", meta={"a": 1})
    export_items([replace(example, pair=pair), pair], tmp_path / "out", form="arrow")
    rows: list[Any] = list(load_from_disk(str(tmp_path / "out")))
    for row in rows:
        assert [one.size for one in row["images"]] == [(8, 4)]
        assert [one.size for one in row["frames"]] == [(8, 6), (8, 7)]
        told = ("pair_id", "source", "question", "preferred", "category")
        assert [row[name] for name in told] == [getattr(pair, name) for name in told]
        assert tuple(row["responses"]) == pair.responses and json.loads(row["meta"]) == {"a": 1}
    assert [row["completion"] for row in rows] == [example.completion, None]


@pytest.mark.parametrize("form", FORMS)
def test_a_trainer_sees_pictures_as_they_are_seen_here(
    form: str, example: SFTExample, tmp_path: Path
) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = write_atomic(tmp_path / "t.jpg", _picture(PILImage.new("RGB", (40, 20)), "JPEG", exif=exif))
    clear = write_atomic(tmp_path / "c.png", _picture(PILImage.new("RGBA", (8, 4), (0, 0, 0, 0)), "PNG"))
    plain = write_atomic(tmp_path / "p.jpg", _picture(PILImage.new("RGB", (9, 4)), "JPEG"))
    pair = replace(example.pair, images=(str(turned), str(clear), str(plain)), frames=())
    out = export_items([pair], tmp_path / "out", form=form)
    ((_, back),) = read_back(out, form)
    opened = [PILImage.open(io.BytesIO(data)) for data in back]
    assert [picture.size for picture in opened] == [(20, 40), (8, 4), (9, 4)]
    assert opened[1].getpixel((0, 0)) == (255, 255, 255)
    assert back[2] == plain.read_bytes()
    broken = replace(pair, images=(str(write_atomic(tmp_path / "b.png", b"nothing")),), origin="rows, row 3")
    with pytest.raises(ValueError, match=r"rows, row 3: picture .*b\.png cannot be read"):
        export_items([broken], tmp_path / "broken", form=form)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "arrow"])
def test_nothing_exported_is_nothing_read(form: str, tmp_path: Path) -> None:
    assert read_back(export_items([], tmp_path, form=form), form) == []


def test_arrow_needs_something_to_export(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to export"):
        export_items([], tmp_path / "out", form="arrow")
    assert not (tmp_path / "out").exists()


def test_an_unknown_form_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"csv.*llama_factory"):
        export_items([], tmp_path, form="csv")


def test_both_kinds_of_files_are_read(example: SFTExample, tmp_path: Path) -> None:
    assert list(iterate_items(write_pairs(tmp_path / "sft.jsonl", [example]))) == [example]
    path = write_pairs(tmp_path / "pairs.jsonl", [example.pair])
    assert list(iterate_items(path)) == [example.pair]
    path.write_text('{"pair_id": "p"}\n')
    with pytest.raises(ValueError, match=r"pairs\.jsonl, row 1"):
        list(iterate_items(path))
