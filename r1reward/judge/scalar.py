"""Reward models with a head: a response gets a number, and a pair the verdict of the two numbers.

The baselines of the paper's Table 5 (§4.1, "Baseline Algorithm"). `scalar` replaces the language head by
a two-layer MLP that reads the last hidden state of the prompt with question and one response.
`critique`, as MM-RLHF-Reward, first writes an evaluation; the head reads the state at its end token.
Shapes: B responses, P prompt tokens, T critique tokens (0 for `scalar`), H width of the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from r1reward.engines import Sampling
from r1reward.engines.inputs import Batch, encode
from r1reward.engines.loading import load_model, readable
from r1reward.engines.log_probs import pad_responses, read_policy, response_states
from r1reward.engines.transformers import TransformersEngine
from r1reward.files import read_json, write_json
from r1reward.prompts import PromptName, score_prompt
from r1reward.settings import ModelSettings
from r1reward.types import PreferencePair, Request

Kind = Literal["scalar", "critique"]
_HEAD = "reward_head.safetensors"
_CONFIG = "reward_head.json"


@dataclass(frozen=True, slots=True)
class ResponseScore:
    """The score of one response, and the critique it was given on with its number of tokens."""

    score: float
    critique: str = ""
    tokens: int = 0


class RewardHead(nn.Module):
    """Two-layer MLP from hidden states (..., H) to scores (...), in float32.

    The paper prints neither width nor activation: H and ReLU. The last layer has no bias, because the
    loss sees differences of scores only.
    """

    def __init__(self, width: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, 1, bias=False)
        for weight in (self.hidden.weight, self.output.weight):
            nn.init.normal_(weight, std=width**-0.5, generator=generator)
        nn.init.zeros_(self.hidden.bias)

    def forward(self, states: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(states.float())))[..., 0]


class RewardModel(nn.Module):
    """A backbone with a reward head."""

    def __init__(self, backbone: Any, head: RewardHead, kind: Kind) -> None:
        super().__init__()
        self.backbone, self.head, self.kind = backbone, head, kind

    def forward(self, batch: Batch, *, responses: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and log-probabilities (B, T) of the critiques, 0 where masked.

        `batch` holds the encoded prompts and `responses` (B, T) the critiques with their end tokens,
        right-padded; T is 0 for `scalar`.
        """
        states = response_states(self.backbone, batch, responses=responses, mask=mask)
        last = states[torch.arange(len(states), device=states.device), mask.sum(dim=1)]
        critiques = read_policy(self.backbone, states, responses=responses, mask=mask)
        return self.head(last), critiques.log_probs

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """The backbone as the Auto classes load it, with the head's weights and kind beside it.

        `options` are those of the backbone's own `save_pretrained`.
        """
        self.backbone.save_pretrained(folder, **options)
        save_file(self.head.state_dict(), Path(folder) / _HEAD)
        write_json(Path(folder) / _CONFIG, {"kind": self.kind, "width": self.head.hidden.in_features})


def new_reward_model(
    path: str | Path, *, kind: Kind, seed: int, settings: ModelSettings | None = None, train: bool = False
) -> tuple[RewardModel, Any]:
    """Model and processor: the backbone of a checkpoint with a new head, drawn by the seed.

    `train` as in `load_model`.
    """
    backbone, processor = load_model(path, settings=settings, train=train)
    width = backbone.config.get_text_config().hidden_size
    head = RewardHead(width, generator=torch.Generator().manual_seed(seed))
    return RewardModel(backbone, head.to(backbone.device), kind), processor


def load_reward_model(
    folder: str | Path, *, settings: ModelSettings | None = None, train: bool = False
) -> tuple[RewardModel, Any]:
    """Model and processor that `save_pretrained` wrote; FileNotFoundError for a folder without a head.

    `train` as in `load_model`.
    """
    config = read_json(Path(folder) / _CONFIG)
    backbone, processor = load_model(folder, settings=settings, train=train)
    head = RewardHead(config["width"])
    with readable(Path(folder) / _HEAD):
        head.load_state_dict(load_file(Path(folder) / _HEAD))
    return RewardModel(backbone, head.to(backbone.device), config["kind"]), processor


def score_request(pair: PreferencePair, position: int, *, prompt: PromptName) -> Request:
    """The request that shows the question, its pictures and the response at `position` (1 or 2)."""
    text = score_prompt(pair.question, pair.responses[position - 1], name=prompt)
    return Request(text, pair.images, pair.frames, origin=pair.origin or pair.pair_id)


def score_responses(
    model: RewardModel,
    processor: Any,
    requests: Sequence[Request],
    *,
    batch_size: int = 256,
    max_prompt_tokens: int = 1024,
    max_new_tokens: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> list[ResponseScore]:
    """Scores of responses, in the order of `requests`. A `critique` model first writes greedily.

    A critique that does not end within `max_new_tokens` is ended there, so that the head reads an end
    token, as in training. `progress(done, total)` counts responses. Raises what `encode` raises.
    """
    texts, tokens = [""] * len(requests), [[] for _ in requests]
    if model.kind == "critique":
        engine = TransformersEngine(
            model.backbone, processor, batch_size=batch_size, max_prompt_tokens=max_prompt_tokens
        )
        answers = [answer for (answer,) in engine.generate(requests, Sampling(max_new_tokens, 0.0))]
        texts = [answer.text for answer in answers]
        end = [processor.tokenizer.eos_token_id]
        tokens = [[*a.token_ids, *(end if a.finish_reason == "length" else [])] for a in answers]
        batch_size = engine.batch_size
    scores: list[float] = []
    for start in range(0, len(requests), batch_size):
        part = slice(start, start + batch_size)
        batch = encode(processor, requests[part], max_prompt_tokens=max_prompt_tokens)
        scores += _score_batch(model, batch, tokens[part])
        if progress:
            progress(len(scores), len(requests))
    return [
        ResponseScore(score, text, len(ids)) for score, text, ids in zip(scores, texts, tokens, strict=True)
    ]


@torch.inference_mode()
def _score_batch(model: RewardModel, batch: Batch, critiques: Sequence[Sequence[int]]) -> list[float]:
    device = model.backbone.device
    ids, mask = (tensor.to(device) for tensor in pad_responses(critiques))
    batch = {name: value.to(device) for name, value in batch.items()}
    training = model.training
    model.eval()
    try:
        return model(batch, responses=ids, mask=mask)[0].tolist()
    finally:
        model.train(training)
