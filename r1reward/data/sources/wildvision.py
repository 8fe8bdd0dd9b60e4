"""WildVision-Battle: two models in one chat, a vote of the user, pictures inside parquet files.

Ties ("tie", "tie (bothbad)") are dropped. The two conversations of a battle of several turns mostly
differ from the second turn on, because each model goes on from its own answer; then the last responses
answer different conversations and the row is dropped. Where all turns before the last exchange are the
same, they become part of the question (`prompts.with_history`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from r1reward.data.rows import DroppedRow, records, scan_parquet, text_field
from r1reward.data.sources.base import FilesSpec, RowPair, SourceSpec, make_reader, strip_image_tag
from r1reward.data.sources.pictures import embedded_picture
from r1reward.files import RefusedRow
from r1reward.prompts import with_history

SPEC = SourceSpec(
    name="wildvision_battle",
    folder="wildvision_battle",
    hub_id="WildVision/wildvision-battle",
    licence="odc-by",
    expected_count=10_383,
    table_2_name="WildVision-Battle",
    files=(FilesSpec("rows with pictures", ("*.parquet", "data/*.parquet", "*/*.parquet"), ("*.parquet",)),),
    unverified="hub id and licence are from the hub's listing, the columns from a twin's card; whether "
    "10,383 counts ties is not stated",
)
COLUMNS = ("conversation_a", "conversation_b", "image", "winner")
TIES = ("tie", "tie (bothbad)")
Turns = list[tuple[str, str]]


def _conversation(row: Mapping[str, Any], name: str, origin: str) -> Turns:
    """(role, text) of a conversation in which user and assistant take turns, the assistant last."""
    turns = [
        (text_field(turn, "role", origin), text_field(turn, "content", origin))
        for turn in records(row, name, origin)
    ]
    roles = [role for role, _ in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        raise RefusedRow(origin, f"field '{name}' is not a conversation", f"the roles of {name} are {roles}")
    return turns


def _parse(row: Mapping[str, Any], number: int, origin: str) -> RowPair:
    winner = text_field(row, "winner", origin)
    first, second = _conversation(row, "conversation_a", origin), _conversation(row, "conversation_b", origin)
    data, name = embedded_picture(row, origin)
    if winner in TIES:
        raise DroppedRow(winner)
    if winner not in ("model_a", "model_b"):
        raise RefusedRow(origin, "field 'winner' names no model", f"winner is {winner!r}")
    if first[:-2] != second[:-2]:
        raise DroppedRow("several turns with different histories")
    if first[-2] != second[-2]:
        raise DroppedRow("different questions")
    history = [(role, strip_image_tag(text)) for role, text in first[:-2]]
    question = with_history(history, strip_image_tag(first[-2][1]))
    chosen, rejected = (first, second) if winner == "model_a" else (second, first)
    return RowPair(question, (chosen[-1][1], rejected[-1][1]), data, name)


read = make_reader(SPEC, _parse, scan=partial(scan_parquet, columns=COLUMNS))
