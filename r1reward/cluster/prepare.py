"""What an RL run of OpenRLHF reads, written from the same pairs, checkpoint and settings as here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from r1reward.engines.inputs import build_messages, check_lengths, render_chat
from r1reward.engines.loading import load_processor, model_folder, require_whole, write_picture_budget
from r1reward.files import write_atomic
from r1reward.judge.reward_model import judge_request
from r1reward.pictures import Budget
from r1reward.settings import ModelSettings
from r1reward.train.checkpoint import write_folder
from r1reward.types import PreferencePair

_WEIGHTS = (".safetensors", ".safetensors.index.json")


def write_prompts(
    pairs: Iterable[PreferencePair],
    out: Path,
    *,
    start: Path,
    settings: ModelSettings,
    max_prompt_tokens: int,
) -> Path:
    """Write a JSON line a pair, see `prompt_row`.

    Raises PictureError, and PromptTooLongError, which would end a run of OpenRLHF in its middle.
    """
    processor = load_processor(start)
    rows = (prompt_row(pair, processor, settings, max_prompt_tokens) for pair in pairs)
    return write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def prompt_row(
    pair: PreferencePair, processor: Any, settings: ModelSettings, max_prompt_tokens: int
) -> dict[str, Any]:
    """The prompt as it is rendered here, so that control tokens of a response stay text, and its label.

    Frames of a video are pictures after the others: OpenRLHF has no videos.
    """
    request = judge_request(pair, prompt=settings.prompt)
    pictures = [*request.images, *request.frames]
    budget = Budget(settings.min_pixels, settings.max_pixels)
    as_pictures = type(request)(request.text, tuple(pictures), (), request.origin)
    messages = build_messages(as_pictures, budget=budget)
    text = render_chat(processor, messages)
    loaded = [part["image"] for part in messages[0]["content"] if part["type"] == "image"]
    check_lengths([_count_tokens(processor, text, loaded)], [as_pictures], max_prompt_tokens)
    return {
        "input": text,
        "images": [os.path.abspath(picture) for picture in pictures],
        "label": json.dumps({"pair_id": pair.pair_id, "preferred": pair.preferred}),
        "datasource": pair.source,
    }


def _count_tokens(processor: Any, text: str, pictures: list[Any]) -> int:
    """Tokens of a prompt; the placeholder of each picture stands for its visual tokens."""
    vision = processor.image_processor
    side, size = vision.patch_size * vision.merge_size, vision.size
    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    areas = [smart_resize(one.height, one.width, factor=side, **limits) for one in pictures]
    visual = sum(height * width // side**2 - 1 for height, width in areas)
    return len(processor.tokenizer(text)["input_ids"]) + visual


def prepare_start(start: str | Path, out: Path, settings: ModelSettings) -> Path:
    """The checkpoint to start from with the picture budget in its processor; weights are links.

    OpenRLHF loads the processor as it is: without a budget a picture may take 16,384 visual tokens. Raises
    FileNotFoundError for a checkpoint that is not on this machine, and CheckpointError for one that is not
    whole.
    """
    source = Path(model_folder(start))
    if not source.is_dir():
        raise FileNotFoundError(f"{start} is not here: download it (hf download {start}) and name its folder")
    require_whole(source)

    def write(folder: Path) -> None:
        for file in sorted(source.iterdir()):
            if file.name.endswith(_WEIGHTS):
                (folder / file.name).symlink_to(file.resolve())
            elif file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        write_picture_budget(folder, settings)

    return write_folder(out, write)


def complete_export(export: Path, start: Path) -> Path:
    """Add what OpenRLHF leaves out of an exported checkpoint, so that everything here loads it.

    Raises FileNotFoundError where OpenRLHF has saved no weights.
    """
    if not list(export.glob("*.safetensors")):
        raise FileNotFoundError(f"OpenRLHF has saved no weights in {export}: see its log")
    for file in sorted(start.iterdir()):
        if not file.name.endswith(_WEIGHTS) and not (export / file.name).exists():
            write_atomic(export / file.name, file.read_bytes())
    return export
