"""Judging mini pairs in both orders, batched, beside a loop of `model.generate` with one prompt at a time.

`python benchmarks/judge_throughput.py --model FOLDER [--pairs 600]`. Same checkpoint, prompts, pictures,
stops and precision; both greedy with a KV cache. The loop encodes each prompt as Qwen's model card does.
"""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from qwen_vl_utils import process_vision_info
from transformers import AutoModelForImageTextToText, AutoProcessor

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.config import load_profile
from r1reward.engines import Sampling, load_engine
from r1reward.engines.loading import model_folder
from r1reward.engines.log_probs import vision_token_ids
from r1reward.judge.generative import judge_request
from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings
from r1reward.types import Request

TOKENS = 64
PIXELS = {"min_pixels": 28 * 28, "max_pixels": 12544}


def judge_one_by_one(model_name: str, requests: list[Request]) -> list[str]:
    """The texts of a plain loop, as a user of transformers writes it."""
    model = AutoModelForImageTextToText.from_pretrained(model_folder(model_name), dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(model_folder(model_name))
    suppressed = vision_token_ids(model.config)
    texts = []
    for request in requests:
        content = [
            {"type": "image", "image": Image.open(path).convert("RGB"), **PIXELS} for path in request.images
        ]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": request.text}]}]
        prompt = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        pictures = process_vision_info(messages)[0]
        inputs = processor(text=[prompt], images=pictures, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(  # pyright: ignore[reportAttributeAccessIssue]
                **inputs, max_new_tokens=TOKENS, do_sample=False, suppress_tokens=suppressed
            )
        answer = output[0, inputs["input_ids"].shape[1] :]
        end = processor.tokenizer.eos_token_id
        texts.append(processor.tokenizer.decode([token for token in answer.tolist() if token != end]))
    return texts


def main() -> None:
    """Time both on the same prompts and list the answers that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pairs", type=int, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = WorldSettings(pairs_per_source=1, benchmark_pairs=options.pairs, validation_pairs=1)
        write_world(Path(folder), size, 0)
        pairs = load_benchmark(Path(folder) / "vl_rewardbench")
        both = [pair for given in pairs for pair in (given, given.swapped())]
        requests = [judge_request(pair, prompt="mini") for pair in both]
        started = time.perf_counter()
        engine = load_engine(options.model, load_profile("mini"))
        ours = [one.text for (one,) in engine.generate(requests, Sampling(TOKENS, temperature=0))]
        batched = time.perf_counter() - started
        started = time.perf_counter()
        theirs = judge_one_by_one(options.model, requests)
        looped = time.perf_counter() - started
    different = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    print(f"{torch.get_num_threads()} threads, {len(requests)} judgments, loading included")
    print(f"batched {batched:.1f} s, {len(requests) / batched:.1f} judgments/s")
    print(f"one by one {looped:.1f} s, {len(requests) / looped:.1f} judgments/s")
    print(f"{looped / batched:.1f} times as fast; {1 - len(different) / len(requests):.2%} equal answers")
    print(f"peak memory of both together {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    for one, other in different:
        print(f"- batched:    {one}\n  one by one: {other}")


if __name__ == "__main__":
    main()
