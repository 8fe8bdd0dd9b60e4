"""Requests as tensors. Engine, SFT and RL all encode here, so every forward sees the same pictures.

Pictures and video frames go through `qwen_vl_utils.process_vision_info`. Frames of a video are fetched
one by one as pictures and stacked: given as a list, qwen-vl-utils 0.0.14 rounds them to multiples of 56
pixels instead of 28.
"""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from qwen_vl_utils import process_vision_info
from torch import Tensor

from r1reward.engines import EngineError, PictureError, PromptTooLongError
from r1reward.pictures import Budget, PictureFault, read_picture, short_name
from r1reward.texts import is_unicode, plain_text
from r1reward.types import Request

FRAMES_PER_SECOND = 2.0
VISION_END = "<|vision_end|>"
Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """Prompts of B requests of which G beginnings, pictures included, are written once.

    `beginnings` is a batch of G rows as `encode` returns it; `rows` (B,) is the beginning of each request;
    `rest` and `rest_mask` (B, R) are the tokens that follow, left-padded.
    """

    beginnings: Batch
    rows: Tensor
    rest: Tensor
    rest_mask: Tensor

    def lengths(self) -> list[int]:
        """Tokens of each request's prompt."""
        return (self.beginnings["attention_mask"].sum(1)[self.rows] + self.rest_mask.sum(1)).tolist()


class DecodedPictures:
    """RGB pictures that are wanted again soon, as those of a rollout are by its updates.

    At most `limit` bytes of them; those that were not asked for longest go first. A file that changed is
    read again.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._known: OrderedDict[tuple[str, int, int], Image.Image] = OrderedDict()

    def read(self, path: str | Path) -> Image.Image:
        """The picture of a file or a `data:` URI; see `read_picture` for errors."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return read_picture(path)
        key = (os.fspath(path), status.st_mtime_ns, status.st_size)
        if key not in self._known:
            self._known[key] = read_picture(path)
            self._size += _bytes_of(self._known[key])
        self._known.move_to_end(key)
        picture = self._known[key]
        while self._size > self._limit:
            self._size -= _bytes_of(self._known.popitem(last=False)[1])
        return picture


def _bytes_of(picture: Image.Image) -> int:
    return 3 * picture.width * picture.height


_DECODED = DecodedPictures(256 * 2**20)


def load_picture(path: str | Path, *, origin: str = "", budget: Budget | None = None) -> Image.Image:
    """A picture as RGB, see `r1reward.pictures`.

    Raises PictureError naming file and origin if it is missing, corrupt or of a shape that cannot be shown
    within `budget`.
    """
    try:
        picture = _DECODED.read(path)
        if budget:
            budget.fit(*picture.size)
        return picture
    except PictureFault as fault:
        where = f" ({origin})" if origin else ""
        raise PictureError(f"picture {short_name(path)}{where} {fault}") from fault


def budget_of(processor: Any) -> Budget:
    """The picture area that a processor allows; that of frames is the same."""
    size = processor.image_processor.size
    return Budget(size["shortest_edge"], size["longest_edge"])


def build_messages(
    request: Request, *, budget: Budget | None, loaded: dict[str, Image.Image] | None = None
) -> list[dict[str, Any]]:
    """The request as one user turn: pictures, then the video's frames in order of time, then the text.

    Pictures that are not in `loaded` yet are loaded into it; see `load_picture` for errors. Frames of
    different sizes are a PictureError, too, and a text that is not Unicode is an EngineError.
    """
    loaded = {} if loaded is None else loaded
    if not is_unicode(request.text):
        raise EngineError(f"the prompt of {request.origin or 'a request'} is not valid Unicode")
    for path in (*request.images, *request.frames):
        if path not in loaded:
            loaded[path] = load_picture(path, origin=request.origin, budget=budget)
    pictures = [{"type": "image", "image": loaded[path]} for path in request.images]
    frames = [loaded[path] for path in request.frames]
    if len(sizes := {frame.size for frame in frames}) > 1:
        shown = " and ".join(f"{width} x {height}" for width, height in sorted(sizes))
        name = request.origin or "a video"
        raise PictureError(f"the frames of {name} have different sizes: {shown} pixels")
    content = [*pictures, *([{"type": "video", "video": frames}] if frames else [])]
    return [{"role": "user", "content": [*content, {"type": "text", "text": request.text}]}]


def encode(processor: Any, requests: Sequence[Request], *, max_prompt_tokens: int | None = None) -> Batch:
    """Prompts of B requests, left-padded to P tokens, ready for the model.

    Returns input_ids, attention_mask and mm_token_type_ids (B, P); pixel_values and image_grid_thw where
    there are pictures, pixel_values_videos, video_grid_thw and second_per_grid_ts where there are frames.
    Tokens of control written out in a request's text are broken up, so that text stays text. Raises
    PictureError, and PromptTooLongError for a prompt above `max_prompt_tokens`.
    """
    loaded: dict[str, Image.Image] = {}
    budget = budget_of(processor)
    conversations = [build_messages(request, budget=budget, loaded=loaded) for request in requests]
    texts = [render_chat(processor, messages) for messages in conversations]
    pictures = [part["image"] for part in _parts(conversations, "image")]
    videos = [part["video"] for part in _parts(conversations, "video")]
    given: dict[str, Any] = {}
    if pictures:
        given["images"] = fetch_pictures(processor.image_processor, pictures)
    if videos:
        given["videos"] = [
            stack_frames(fetch_pictures(processor.video_processor, frames)) for frames in videos
        ]
        given["videos_kwargs"] = {"do_sample_frames": False}
    encoded = processor(text=texts, padding=True, padding_side="left", return_tensors="pt", **given)
    if videos:
        seconds = processor.video_processor.temporal_patch_size / FRAMES_PER_SECOND
        encoded["second_per_grid_ts"] = torch.full((len(videos),), seconds)
    batch: Batch = dict(encoded)
    if max_prompt_tokens is not None:
        check_lengths(batch["attention_mask"].sum(dim=1).tolist(), requests, max_prompt_tokens)
    return batch


def encode_shared(
    processor: Any, requests: Sequence[Request], *, max_prompt_tokens: int | None = None
) -> SharedPrompts | None:
    """Prompts of requests that share pictures: what they begin with in common is encoded once.

    None where no two requests have the same pictures. Raises what `encode` raises.
    """
    first: dict[tuple[tuple[str, ...], ...], Request] = {}
    for request in requests:
        first.setdefault((request.images, request.frames), request)
    if len(first) == len(requests) or ((), ()) in first:
        return None
    numbers = {pictures: number for number, pictures in enumerate(first)}
    rows = [numbers[request.images, request.frames] for request in requests]
    tails = processor.tokenizer([_tail(processor, one) for one in requests], add_special_tokens=False)
    asked: list[list[list[int]]] = [[] for _ in first]
    for ids, row in zip(tails["input_ids"], rows, strict=True):
        asked[row].append(ids[:-1])
    common = [_shared_start(group) for group in asked]
    beginnings = _begin(processor, list(first.values()), common)
    rest, rest_mask = left_pad(
        [ids[len(common[row]) :] for ids, row in zip(tails["input_ids"], rows, strict=True)]
    )
    shared = SharedPrompts(beginnings, torch.tensor(rows), rest, rest_mask)
    if max_prompt_tokens is not None:
        check_lengths(shared.lengths(), requests, max_prompt_tokens)
    return shared


def left_pad(token_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) with zeros on the left, and their mask (B, T), 1 at tokens."""
    length = max(map(len, token_ids))
    ids, mask = torch.zeros(2, len(token_ids), length, dtype=torch.long)
    for row, tokens in enumerate(token_ids):
        ids[row, length - len(tokens) :] = torch.tensor(tokens, dtype=torch.long)
        mask[row, length - len(tokens) :] = 1
    return ids, mask


def _shared_start(rows: Sequence[list[int]]) -> list[int]:
    """The tokens with which all rows begin."""
    shortest = min(rows, key=len)
    differs = (place for place, token in enumerate(shortest) if any(row[place] != token for row in rows))
    return shortest[: next(differs, len(shortest))]


def _tail(processor: Any, request: Request) -> str:
    """The rendered prompt behind its last picture, which need not be loaded for it."""
    content: list[dict[str, Any]] = [{"type": "image", "image": path} for path in request.images]
    content += [{"type": "video", "video": request.frames}] if request.frames else []
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": request.text}]}]
    return render_chat(processor, messages).rpartition(VISION_END)[2]


def _begin(processor: Any, requests: Sequence[Request], common: Sequence[Sequence[int]]) -> Batch:
    """A batch of what stands up to the last picture of each request, and of `common` text tokens after it."""
    batch = encode(processor, [replace(request, text="") for request in requests])
    end = processor.tokenizer.convert_tokens_to_ids(VISION_END)
    heads: list[list[list[int]]] = []
    for ids, types, mask in zip(
        batch["input_ids"], batch["mm_token_type_ids"], batch["attention_mask"].bool(), strict=True
    ):
        shown = ids[mask].tolist()
        stop = len(shown) - shown[::-1].index(end)
        heads.append([shown[:stop], types[mask].tolist()[:stop]])
    ids, mask = left_pad([[*head, *text] for (head, _), text in zip(heads, common, strict=True)])
    types, _ = left_pad(
        [[*kinds, *([0] * len(text))] for (_, kinds), text in zip(heads, common, strict=True)]
    )
    return {**batch, "input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types}


def render_chat(processor: Any, messages: list[dict[str, Any]]) -> str:
    """The chat prompt of one conversation, with the tokens of control in its text broken up."""
    content = messages[0]["content"]
    text = plain_text(content[-1]["text"], tokenizer=processor.tokenizer)
    turn = {"role": "user", "content": [*content[:-1], {"type": "text", "text": text}]}
    return processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)


def _parts(conversations: list[list[dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    turns = [message["content"] for messages in conversations for message in messages]
    return [part for content in turns for part in content if part["type"] == kind]


def fetch_pictures(vision_processor: Any, pictures: list[Image.Image]) -> list[Image.Image]:
    """Pictures resized to whole visual tokens within the processor's limits of area."""
    size = vision_processor.size
    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    content = [{"type": "image", "image": picture, **limits} for picture in pictures]
    fetched, _ = process_vision_info([{"role": "user", "content": content}])  # type: ignore[misc]
    return fetched or []


def stack_frames(frames: list[Image.Image]) -> Tensor:
    """Frames as one (F, 3, H, W) uint8 tensor."""
    return torch.stack([torch.from_numpy(np.array(frame)).permute(2, 0, 1) for frame in frames])


def count_tokens(processor: Any, text: str, areas: Sequence[int]) -> int:
    """Tokens of a rendered prompt; each placeholder stands for the tokens of so many resized pixels."""
    vision = processor.image_processor
    visual = sum(area // (vision.patch_size * vision.merge_size) ** 2 - 1 for area in areas)
    return len(processor.tokenizer(text)["input_ids"]) + visual


def check_lengths(lengths: list[int], requests: Sequence[Request], limit: int) -> None:
    """Raises PromptTooLongError that names the first request with more than `limit` tokens."""
    for length, request in zip(lengths, requests, strict=True):
        if length > limit:
            name = request.origin or repr(request.text[:60])
            raise PromptTooLongError(
                f"the prompt of {name} has {length} tokens with its pictures, the limit is {limit}; "
                "raise engine.max_prompt_tokens or lower model.max_pixels"
            )
