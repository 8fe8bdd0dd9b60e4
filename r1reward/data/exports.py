"""Pairs and cold-start examples in the forms that other trainers read, and back again without a loss.

- `trl`: `prompt`, `completion` and `images` for TRL's SFT, which then learns the completion alone;
- `trl_preference`: `prompt`, `chosen`, `rejected` and `images` for TRL's DPO (its RewardTrainer reads the
  same columns, but no pictures);
- `llama_factory`: ShareGPT chats for LLaMA-Factory's SFT, with its `dataset_info.json`;
- `llama_factory_preference`: the same with `chosen` and `rejected`, for its DPO and its reward models;
- `openrlhf`: prompts for OpenRLHF's RL, `prompt`, `images` and `label` ("1" or "2");
- `authors`: the columns of R1-Reward-RL: `message` (a chat as JSON text, the text before the picture),
  `question`, `answer` and `image` (base64; a JSON list of them unless there is exactly one picture);
- `arrow`: a folder of the `datasets` library with the pictures inside (`data.arrow`).

Where a judge is trained, the user's turn is the judge prompt and the assistant's a cold-start example's
answer, or for a bare pair `<answer>k</answer>`. In the two preference forms it is the question, and the
two responses. The frames of a video are pictures after the others. Marks that a trainer would take for a
picture or a token of control (`<image>`, `<|im_end|>`) get a space inside a text, so that text stays text.
The column `pair` holds what a form cannot hold; a reader checks that the rest of the row says the same.
Pictures are inside the rows of the last two forms; the others name them by absolute paths.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1reward.data import arrow
from r1reward.data.cold_start import SFTExample
from r1reward.data.items import (
    Item,
    item_from_row,
    item_to_row,
    pair_of,
    picture_name,
    restore_picture,
    show_alike,
)
from r1reward.data.storage import write_rows
from r1reward.files import iterate_jsonl, write_json
from r1reward.prompts import PromptName, judge_prompt
from r1reward.texts import plain_text

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
Row = dict[str, Any]
Encode = Callable[[Item, str], Row]


def export_items(items: Iterable[Item], out: Path, *, form: str, prompt: PromptName = "paper") -> Path:
    """Write items in a form into the folder `out`; an unknown form is a ValueError. Streams.

    Pictures that another reader would show otherwise (turned by EXIF, on a clear ground) are written as PNG:
    to `out/pictures`, or into the rows. One that cannot be read is a ValueError that names its row.
    """
    if form == "arrow":
        with tempfile.TemporaryDirectory(prefix="r1reward-pictures-") as work:
            return arrow.write_folder((show_alike(item, Path(work)) for item in items), out)
    encode = _encoder(form)
    items = (show_alike(item, out / "pictures") for item in items)
    rows = (
        {
            **encode(item, _text(item, prompt)),
            "pair": json.dumps({"prompt": prompt, **item_to_row(item, out)}),
        }
        for item in items
    )
    write_rows(out / ROWS, rows)
    if form in DATASET_INFO:
        write_json(out / "dataset_info.json", DATASET_INFO[form])
    return out


def read_export(folder: Path, *, form: str, pictures: Path | None = None) -> Iterator[Item]:
    """The items that `export_items` wrote. Embedded pictures go to `pictures` (default: in the folder).

    A row whose pair says something else than the row is a ValueError that names file and row.
    """
    pictures = pictures or folder / "pictures"
    if form == "arrow":
        yield from arrow.read_folder(folder, pictures)
        return
    encode, path = _encoder(form), folder / ROWS
    for number, row in enumerate(iterate_jsonl(path), start=1):
        try:
            carried = json.loads(row.pop("pair"))
            images = _unpack(row, pictures) if form == "authors" else row["images"]
            item = item_from_row(carried, folder, pictures=images)
            if encode(item, _text(item, carried["prompt"])) != row:
                raise ValueError("the row does not belong to its pair")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: {error!r}") from error
        yield item


def _encoder(form: str) -> Encode:
    if form not in ENCODERS:
        raise ValueError(f"no form is called {form!r}; there are {', '.join(FORMS)}")
    return ENCODERS[form]


def _text(item: Item, prompt: PromptName) -> str:
    return plain_text(judge_prompt(pair_of(item), name=prompt))


def _answer(item: Item) -> str:
    if isinstance(item, SFTExample):
        return plain_text(item.completion)
    return _label(item)


def _label(item: Item) -> str:
    return f"<answer>{pair_of(item).preferred}</answer>"


def _paths(item: Item) -> list[str]:
    pair = pair_of(item)
    return [os.path.abspath(path) for path in (*pair.images, *pair.frames)]


def _said(role: str, text: str) -> list[Row]:
    """One turn of a chat as TRL wants it: it puts the pictures before the first text of the user itself."""
    return [{"role": role, "content": text}]


def _trl(item: Item, text: str) -> Row:
    return {
        "prompt": _said("user", text),
        "completion": _said("assistant", _answer(item)),
        "images": _paths(item),
    }


def _ranked(item: Item) -> tuple[str, str, str]:
    """Question, chosen and rejected response."""
    pair = pair_of(item)
    chosen, rejected = pair.responses if pair.preferred == 1 else pair.responses[::-1]
    return plain_text(pair.question), plain_text(chosen), plain_text(rejected)


def _trl_preference(item: Item, _: str) -> Row:
    question, chosen, rejected = _ranked(item)
    return {
        "prompt": _said("user", question),
        "chosen": _said("assistant", chosen),
        "rejected": _said("assistant", rejected),
        "images": _paths(item),
    }


def _human(item: Item, text: str) -> Row:
    return {"from": "human", "value": "<image>" * len(_paths(item)) + text}


def _gpt(text: str) -> Row:
    return {"from": "gpt", "value": text}


def _llama_factory(item: Item, text: str) -> Row:
    return {"conversations": [_human(item, text), _gpt(_answer(item))], "images": _paths(item)}


def _llama_factory_preference(item: Item, _: str) -> Row:
    question, chosen, rejected = _ranked(item)
    return {
        "conversations": [_human(item, question)],
        "chosen": _gpt(chosen),
        "rejected": _gpt(rejected),
        "images": _paths(item),
    }


def _openrlhf(item: Item, text: str) -> Row:
    paths = _paths(item)
    content = [*({"type": "image"} for _ in paths), {"type": "text", "text": text}]
    label = str(pair_of(item).preferred)
    return {"prompt": [{"role": "user", "content": content}], "images": paths, "label": label}


def _authors(item: Item, text: str) -> Row:
    pictures = [Path(path) for path in _paths(item)]
    data = [path.read_bytes() for path in pictures]
    parts = [
        {"type": "image", "image": picture_name(content, path.suffix)}
        for content, path in zip(data, pictures, strict=True)
    ]
    packed = [base64.b64encode(content).decode() for content in data]
    chat = [{"role": "user", "content": [{"type": "text", "text": text}, *parts]}]
    return {
        "message": json.dumps(chat, ensure_ascii=False),
        "question": pair_of(item).question,
        "answer": [_label(item)],
        "image": packed[0] if len(packed) == 1 else json.dumps(packed),
    }


def _unpack(row: Mapping[str, Any], pictures: Path) -> list[str]:
    """Write the pictures of a row in the authors' form; returns their paths."""
    parts = json.loads(row["message"])[0]["content"][1:]
    packed = [row["image"]] if len(parts) == 1 else json.loads(row["image"])
    return [
        restore_picture(base64.b64decode(data, validate=True), Path(part["image"]).suffix, pictures)
        for part, data in zip(parts, packed, strict=True)
    ]


ENCODERS: Mapping[str, Encode] = {
    "trl": _trl,
    "trl_preference": _trl_preference,
    "llama_factory": _llama_factory,
    "llama_factory_preference": _llama_factory_preference,
    "openrlhf": _openrlhf,
    "authors": _authors,
}
FORMS = (*ENCODERS, "arrow")
