"""Generation with plain transformers models: batched by length, left-padded, with a KV cache.

The loop is our own: it knows M-RoPE positions, drops finished answers from the batch, and draws each
answer from its own random numbers, so that an answer does not depend on what shares its batch.
"""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from r1reward.engines import EngineError, NonFiniteError, Progress, Sampling, read_completion
from r1reward.engines.inputs import SharedPrompts, encode, encode_shared
from r1reward.engines.loading import computing
from r1reward.engines.log_probs import answer_log_probs, position_ids, vision_token_ids
from r1reward.engines.speed import last_token_only, roomy_cache, speed_up
from r1reward.types import Completion, Request

_LOG = logging.getLogger(__name__)
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_COMPACT_BELOW = 0.75


class TransformersEngine:
    """Answers requests with a transformers vision-language model held in this process.

    Answers are drawn with random numbers that follow from the sampling seed, the request's place in the
    call and the sample alone. Log-probabilities are of the sampled tokens at the sampling temperature
    (at 1 for greedy answers), without the suppressed vision tokens.
    """

    def __init__(
        self, model: Any, processor: Any, *, batch_size: int = 256, max_prompt_tokens: int = 1024
    ) -> None:
        self.model = speed_up(model)
        self.processor = processor
        self.batch_size = batch_size
        self.max_prompt_tokens = max_prompt_tokens
        self._vision_ids = vision_token_ids(model.config)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[tuple[Completion, ...]]:
        """See `Engine.generate`. Out of memory halves the batch size for good and is logged."""
        wanted = [
            (request, sample) for request in self._by_length(requests) for sample in range(sampling.samples)
        ]
        done: dict[tuple[int, int], Completion] = {}
        training = self.model.training
        self.model.eval()
        try:
            with last_token_only(self.model), computing(self.model):
                while len(done) < len(wanted):
                    part = wanted[len(done) : len(done) + self.batch_size]
                    try:
                        done |= self._answer(requests, part, sampling)
                    except (RuntimeError, MemoryError) as error:
                        self._halve(error, len(part))
                    if progress:
                        progress(len(done), len(wanted))
        finally:
            self.model.train(training)
        samples = range(sampling.samples)
        return [tuple(done[index, sample] for sample in samples) for index in range(len(requests))]

    def _by_length(self, requests: Sequence[Request]) -> list[int]:
        """Indices from the longest request to the shortest, so that memory runs out early or never."""
        sizes = [(len(r.images) + len(r.frames), len(r.text)) for r in requests]
        return sorted(range(len(requests)), key=lambda index: (sizes[index], index), reverse=True)

    def _halve(self, error: BaseException, size: int) -> None:
        out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
            sign in str(error).lower() for sign in _OUT_OF_MEMORY
        )
        if not out_of_memory:
            raise error
        if size == 1:
            raise EngineError(
                "out of memory with a single answer; lower max_new_tokens or max_pixels"
            ) from error
        self.batch_size = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _LOG.warning("out of memory with %d answers at once; going on with %d", size, self.batch_size)

    @torch.inference_mode()
    def _answer(
        self, requests: Sequence[Request], part: list[tuple[int, int]], sampling: Sampling
    ) -> dict[tuple[int, int], Completion]:
        """Completions of one batch of (request index, sample); a request's prompt is read once."""
        indices = list(dict.fromkeys(index for index, _ in part))
        places = {index: place for place, index in enumerate(indices)}
        prompts = self._encode([requests[index] for index in indices])
        rows = torch.tensor([places[index] for index, _ in part], device=self.model.device)
        places = [(requests[index].place_or(index), sample) for index, sample in part]
        draws = torch.stack([_draws(sampling, *place) for place in places]).to(self.model.device)
        tokens, log_probs = self._decode(prompts, rows, draws, sampling)
        return dict(zip(part, self._completions(tokens.tolist(), log_probs.tolist()), strict=True))

    def _encode(self, requests: list[Request]) -> SharedPrompts:
        """Prompts whose common beginnings, pictures included, stand there once."""
        limit, device = {"max_prompt_tokens": self.max_prompt_tokens}, self.model.device
        shared = encode_shared(self.processor, requests, **limit)
        if shared is None:
            nothing = torch.zeros(len(requests), 0, dtype=torch.long)
            batch = encode(self.processor, requests, **limit)
            shared = SharedPrompts(batch, torch.arange(len(requests)), nothing, nothing)
        beginnings = {name: value.to(device) for name, value in shared.beginnings.items()}
        others = (shared.rows, shared.rest, shared.rest_mask)
        return SharedPrompts(beginnings, *(value.to(device) for value in others))

    def _decode(
        self, prompts: SharedPrompts, rows: Tensor, draws: Tensor, sampling: Sampling
    ) -> tuple[Tensor, Tensor]:
        """Token ids and log-probs (N, T) of N answers; row i continues prompt `rows[i]`; -1 after the end."""
        cache, logits, mask, position = self._read_prompts(prompts, rows, draws.shape[1])
        tokens = torch.full(draws.shape, -1, dtype=torch.long, device=draws.device)
        log_probs = torch.zeros(draws.shape, device=draws.device)
        stops = torch.tensor(self._stop_ids(), device=draws.device)
        alive = torch.arange(len(rows), device=draws.device)
        running = torch.ones_like(alive, dtype=torch.bool)
        for step in range(draws.shape[1]):
            token, log_prob = self._pick(logits, draws[alive, step], sampling.temperature)
            tokens[alive[running], step] = token[running]
            log_probs[alive[running], step] = log_prob[running]
            running &= ~torch.isin(token, stops)
            left = int(running.sum())
            if left == 0 or step + 1 == draws.shape[1]:
                break
            if left < _COMPACT_BELOW * len(alive):
                cache.batch_select_indices(running)
                alive, token, mask, position = (
                    alive[running],
                    token[running],
                    mask[running],
                    position[:, running],
                )
                running = running[running]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            hidden = self._read(cache, token[:, None], mask=mask, position=position)
            logits = self.model.lm_head(hidden[:, -1])
            position = position + 1
        return tokens, log_probs

    def _read_prompts(
        self, prompts: SharedPrompts, rows: Tensor, room: int
    ) -> tuple[Cache, Tensor, Tensor, Tensor]:
        """Cache, next-token logits (N, V), mask (N, P) and next position (3, N, 1) of N answers."""
        batch, rest_mask = prompts.beginnings, prompts.rest_mask
        cache = roomy_cache(self.model, room=rest_mask.shape[1] + room)
        positions, deltas = position_ids(self.model, batch)
        pixels = {
            name: value for name, value in batch.items() if name.startswith(("pixel_", "image_", "video_"))
        }
        mask = batch["attention_mask"]
        hidden = self._read(cache, batch["input_ids"], mask=mask, position=positions, **pixels)
        position = mask.sum(1, keepdim=True) + deltas
        if rest_mask.shape[1]:
            cache.batch_select_indices(prompts.rows)
            mask, position = torch.cat([mask[prompts.rows], rest_mask], dim=1), position[prompts.rows]
            positions = (position + rest_mask.cumsum(1) - 1).expand(3, -1, -1)
            hidden = self._read(cache, prompts.rest, mask=mask, position=positions)
            position = position + rest_mask.sum(1, keepdim=True)
        if len(rows) != len(hidden):
            cache.batch_select_indices(rows)
        return cache, self.model.lm_head(hidden[rows, -1]), mask[rows], position[rows].expand(3, -1, -1)

    def _read(self, cache: Cache, ids: Tensor, *, mask: Tensor, position: Tensor, **pixels: Tensor) -> Tensor:
        """Hidden states (N, T, H) of tokens (N, T) behind those in the cache, which takes them in."""
        return self.model.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            **pixels,
        )[0]

    def _pick(self, logits: Tensor, draws: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Next tokens and their log-probs (N,); draws in [0, 1) choose by the inverse of the distribution."""
        everything = answer_log_probs(logits, vision_ids=self._vision_ids, temperature=temperature or 1.0)
        if temperature == 0:
            token = everything.argmax(dim=-1)
        else:
            cumulative = everything.double().exp().cumsum(dim=-1)
            if not bool(torch.isfinite(cumulative[:, -1]).all()):
                raise NonFiniteError("the model's token probabilities are not finite", {"logits": logits})
            # Just below the total, so that rounding cannot choose a token of probability 0.
            threshold = draws[:, None] * cumulative[:, -1:] * (1 - 1e-12)
            token = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
        log_prob = everything.gather(1, token[:, None])[:, 0]
        if not bool(torch.isfinite(log_prob).all()):
            raise NonFiniteError("the model's token probabilities are not finite", {"logits": logits})
        return token, log_prob

    def _stop_ids(self) -> list[int]:
        """Tokens that end an answer: those of the checkpoint's generation config and the tokenizer's."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        known = (*ids, self.processor.tokenizer.eos_token_id)
        return sorted({token for token in known if isinstance(token, int)})

    def _completions(self, tokens: list[list[int]], log_probs: list[list[float]]) -> list[Completion]:
        stops, tokenizer = set(self._stop_ids()), self.processor.tokenizer
        completions = []
        for row, values in zip(tokens, log_probs, strict=True):
            ids = [token for token in row if token >= 0]
            ended = ids[-1] in stops
            completions.append(read_completion(tokenizer, ids, values[: len(ids)], ended=ended))
        return completions


def _draws(sampling: Sampling, index: int, sample: int) -> Tensor:
    """The (T,) uniform random numbers of one answer."""
    rng = np.random.default_rng([sampling.seed, index, sample])
    return torch.from_numpy(rng.random(sampling.max_new_tokens))
