"""POVID: a JSON list of LLaVA conversations with a rejected twin, pictures (COCO train2014) beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1reward.data.sources.base import (
    SourceSpec,
    chosen_first,
    drop_reason,
    find_files,
    find_picture,
    mapping,
    strip_image_tag,
    text_field,
)
from r1reward.files import read_json
from r1reward.types import PreferencePair

SPEC = SourceSpec(
    name="povid",
    hub_id="YiyangAiLab/POVID_preference_data_for_VLLMs",
    licence="cc-by-4.0",
    expected_count=17_184,
    table_2_name="POVID",
)
PICTURE_FOLDERS = ("images",)


def _exchange(row: Mapping[str, Any], name: str, origin: str) -> tuple[str, str, int]:
    """(question, response, number of turns) of a conversation in LLaVA's form."""
    turns = row.get(name)
    if not isinstance(turns, list) or len(turns) < 2:
        raise ValueError(f"{origin}: field '{name}' is not a conversation")
    texts = {}
    for turn, speaker in zip(turns, ("human", "gpt"), strict=False):
        if text_field(mapping(turn, origin), "from", origin) != speaker:
            raise ValueError(f"{origin}: field '{name}' does not start with human and gpt")
        texts[speaker] = text_field(turn, "value", origin)
    return strip_image_tag(texts["human"]), texts["gpt"], len(turns)


def read(
    folder: Path,
    *,
    drops: Counter[str] | None = None,
    keep: Callable[[str], bool] | None = None,
    cache: Path | None = None,
) -> Iterator[PreferencePair]:
    """Pairs of the POVID files in `folder`; a conversation of several exchanges is dropped."""
    folder = Path(folder)
    drops = Counter() if drops is None else drops
    number = -1
    for path in find_files(folder, "POVID*.json", "*.json"):
        rows = read_json(path)
        if not isinstance(rows, list):
            raise ValueError(f"{path}: expected a list of rows")
        for index, value in enumerate(rows, start=1):
            number += 1
            origin = f"{path}, row {index}"
            row = mapping(value, origin)
            question, chosen, turns = _exchange(row, "conversations", origin)
            _, rejected, _ = _exchange(row, "rejected_conversations", origin)
            reason = "several turns" if turns > 2 else drop_reason(question, chosen, rejected)
            pair_id = f"{SPEC.name}-{number:06d}"
            if reason:
                drops[reason] += 1
            elif keep is None or keep(pair_id):
                name = text_field(row, "image", origin)
                picture = find_picture(folder, name, subfolders=PICTURE_FOLDERS, origin=origin)
                yield chosen_first(
                    SPEC, pair_id, question, (chosen, rejected), picture=picture, name=name, origin=origin
                )
