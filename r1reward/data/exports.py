"""Pairs and cold-start examples in the forms that other trainers read.

- `trl`: `prompt`, `completion` and `images` for TRL's SFT, which then learns the completion alone;
- `trl_preference`: `prompt`, `chosen`, `rejected` and `images` for TRL's DPO (its RewardTrainer reads the
  same columns, but no pictures);
- `llama_factory`: ShareGPT chats for LLaMA-Factory's SFT, with its `dataset_info.json`;
- `llama_factory_preference`: the same with `chosen` and `rejected`, for its DPO and its reward models;
- `openrlhf`: prompts for OpenRLHF's RL, `prompt`, `images` and `label` ("1" or "2");
- `authors`: the columns of R1-Reward-RL: `message` (a chat as JSON text, the text before the picture),
  `question`, `answer` and `image` (base64; a JSON list of them unless there is exactly one picture);
- `arrow`: a folder of the `datasets` library with the pictures inside.

Where a judge is trained, the user's turn is the judge prompt and the assistant's a cold-start example's
answer, or for a bare pair `<answer>k</answer>`. In the two preference forms it is the question, and the
two responses. The frames of a video are pictures after the others. Marks that a trainer would take for a
picture or a token of control (`<image>`, `<|im_end|>`) get a space inside a text, so that text stays text.
The column `pair` is the item itself, as `write_pairs` writes it, with the name of the judge prompt.
Pictures are inside the rows of the last two forms; the others name them by absolute paths.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from r1reward.data.sources.pictures import keep_picture, picture_name
from r1reward.data.storage import Item, SFTExample, pair_of, pair_to_row, write_rows
from r1reward.files import write_json
from r1reward.pictures import PictureFault, common_form, picture_bytes
from r1reward.prompts import PromptName, judge_prompt
from r1reward.texts import plain_text
from r1reward.types import PreferencePair

FORMS = (
    "trl", "trl_preference", "llama_factory", "llama_factory_preference", "openrlhf", "authors", "arrow",
)  # fmt: skip
ROWS = "data.jsonl"
_SHAREGPT = {"file_name": ROWS, "formatting": "sharegpt"}
_SHAREGPT_COLUMNS = {"messages": "conversations", "images": "images"}
# What LLaMA-Factory is told about a form.
DATASET_INFO: Mapping[str, Mapping[str, Any]] = {
    "llama_factory": {"r1_reward": {**_SHAREGPT, "columns": _SHAREGPT_COLUMNS}},
    "llama_factory_preference": {
        "r1_reward": {
            **_SHAREGPT,
            "ranking": True,
            "columns": {**_SHAREGPT_COLUMNS, "chosen": "chosen", "rejected": "rejected"},
        }
    },
}
# The columns of `arrow`.
_TEXTS = ("pair_id", "source", "question", "category", "origin", "completion")
FEATURES = Features(
    {
        **{name: Value("string") for name in _TEXTS},
        "responses": List(Value("string")),
        "preferred": Value("int8"),
        "images": List(Image()),
        "frames": List(Image()),
        "meta": Value("string"),
    }
)
Row = dict[str, Any]


def export_items(items: Iterable[Item], out: Path, *, form: str, prompt: PromptName = "paper") -> Path:
    """Write items in a form into the folder `out`; an unknown form is a ValueError. Streams.

    Pictures that another reader would show otherwise (turned by EXIF, on a clear ground) are written as PNG:
    to `out/pictures`, or into the rows. One that cannot be read is a ValueError that names its row.
    """
    if form not in FORMS:
        raise ValueError(f"no form is called {form!r}; there are {', '.join(FORMS)}")
    if form == "arrow":
        with tempfile.TemporaryDirectory(prefix="r1reward-pictures-") as work:
            return _write_arrow((show_alike(item, Path(work)) for item in items), out)
    items = (show_alike(item, out / "pictures") for item in items)
    pairs = ((item, json.dumps({"prompt": prompt, **pair_to_row(item, out)})) for item in items)
    write_rows(out / ROWS, ({**_to_row(item, form, prompt), "pair": pair} for item, pair in pairs))
    if form in DATASET_INFO:
        write_json(out / "dataset_info.json", DATASET_INFO[form])
    return out


def show_alike(item: Item, folder: Path) -> Item:
    """The item with pictures that every trainer opens as they are opened here.

    One that others would turn, or show on another ground, is written to `folder` as a PNG. Raises ValueError
    that names the item for a picture that cannot be read.
    """
    pair = pair_of(item)
    images, frames = (
        tuple(_alike(path, pair, folder) for path in paths) for paths in (pair.images, pair.frames)
    )
    pair = replace(pair, images=images, frames=frames)
    return SFTExample(pair, item.completion) if isinstance(item, SFTExample) else pair


def _alike(path: str, pair: PreferencePair, folder: Path) -> str:
    try:
        data, kind = common_form(path)
        same = data == picture_bytes(path)
    except PictureFault as fault:
        raise ValueError(f"{pair.label}: picture {path} {fault}") from fault
    return path if same else keep_picture(data, f".{kind}", folder)


def _write_arrow(items: Iterable[Item], out: Path) -> Path:
    """Write items as a `datasets` folder; `load_from_disk(out)` gives the pictures as PIL images.

    No items at all are a ValueError: the library cannot read an empty folder.
    """
    rows = (_to_arrow(item, out) for item in items)
    first = next(rows, None)
    if first is None:
        raise ValueError("there is nothing to export")
    out.parent.mkdir(parents=True, exist_ok=True)
    # A cache of its own, because the library would give back older rows; renamed when it is whole.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".arrow.") as work:
        # The fingerprint saves the library from hashing the generator, which cannot be done.
        data = Dataset.from_generator(
            lambda: chain([first], rows), features=FEATURES, cache_dir=work, fingerprint="items"
        )
        data.save_to_disk(f"{work}/whole")  # type: ignore[union-attr]
        if out.exists():
            shutil.rmtree(out)
        os.rename(f"{work}/whole", out)
    return out


def _to_arrow(item: Item, folder: Path) -> dict[str, Any]:
    pair = pair_of(item)
    row = {"completion": None, **pair_to_row(item, folder), "meta": json.dumps(dict(pair.meta))}
    for name, paths in {"images": pair.images, "frames": pair.frames}.items():
        row[name] = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in paths]
    return row


def _to_row(item: Item, form: str, prompt: PromptName) -> Row:
    """An item as a row of a form."""
    pair, label = pair_of(item), f"<answer>{pair_of(item).preferred}</answer>"
    asked = plain_text(judge_prompt(pair, name=prompt))
    answer = plain_text(item.completion) if isinstance(item, SFTExample) else label
    better, worse = pair.responses if pair.preferred == 1 else pair.responses[::-1]
    question, chosen, rejected = map(plain_text, (pair.question, better, worse))
    images = [os.path.abspath(path) for path in (*pair.images, *pair.frames)]
    marks = "<image>" * len(images)
    match form:
        case "trl":
            return {
                "prompt": _said("user", asked),
                "completion": _said("assistant", answer),
                "images": images,
            }
        case "trl_preference":
            ranked = {"chosen": _said("assistant", chosen), "rejected": _said("assistant", rejected)}
            return {"prompt": _said("user", question), **ranked, "images": images}
        case "llama_factory":
            return {"conversations": [_turn("human", marks + asked), _turn("gpt", answer)], "images": images}
        case "llama_factory_preference":
            ranked = {"chosen": _turn("gpt", chosen), "rejected": _turn("gpt", rejected)}
            return {"conversations": [_turn("human", marks + question)], **ranked, "images": images}
        case "openrlhf":
            content = [*({"type": "image"} for _ in images), {"type": "text", "text": asked}]
            turn = {"role": "user", "content": content}
            return {"prompt": [turn], "images": images, "label": str(pair.preferred)}
        case _:
            data = [Path(path).read_bytes() for path in images]
            names = [picture_name(one, Path(path).suffix) for one, path in zip(data, images, strict=True)]
            parts = [{"type": "image", "image": name} for name in names]
            chat = [{"role": "user", "content": [{"type": "text", "text": asked}, *parts]}]
            packed = [base64.b64encode(content).decode() for content in data]
            return {
                "message": json.dumps(chat, ensure_ascii=False),
                "question": pair.question,
                "answer": [label],
                "image": packed[0] if len(packed) == 1 else json.dumps(packed),
            }


def _said(role: str, text: str) -> list[Row]:
    """One turn of a chat as TRL wants it: it puts the pictures before the first text of the user itself."""
    return [{"role": role, "content": text}]


def _turn(speaker: str, text: str) -> Row:
    """One turn of a chat in ShareGPT's form."""
    return {"from": speaker, "value": text}
