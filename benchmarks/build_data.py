"""Time and memory of a build: `python benchmarks/build_data.py [--rows 50000 200000] [--pictures 2000]`.

Writes synthetic pairs in the schemas of all sources there are, in the proportions of the paper's Table 2,
and builds them in a fresh process, whose peak memory is measured. A hundredth of the rows of each source
repeats an earlier one, another hundredth repeats it but for one word. Half of the pool is drawn.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from r1reward.data.build import build_dataset
from r1reward.data.sources import SOURCES

# Pairs of Table 2 in thousands.
SIZES = {"rlaif_v": 75, "vl_feedback": 80, "povid": 17, "wildvision_battle": 10}
SIZES |= {"mm_rlhf_long": 41, "mm_rlhf_short": 46, "mm_rlhf_mcq": 8, "mm_rlhf_safety": 10}
VOCABULARY = 5000
BATCH_ROWS = 1000
FILE_ROWS = 6000
KEEP_LAST = 100


@dataclass(frozen=True)
class Row:
    number: int
    picture: int
    question: str
    chosen: str
    rejected: str


def make_rows(count: int, pictures: int, rng: np.random.Generator) -> Iterator[Row]:
    """Rows of about 12 + 80 + 80 words; every 50th repeats an earlier one."""
    words = np.array([f"{'aeiou'[i % 5]}word{i}" for i in range(VOCABULARY)], dtype=object)
    last: list[Row] = []

    def text(length: int) -> str:
        return " ".join(words[(rng.random(length) ** 3 * VOCABULARY).astype(int)])

    for number in range(count):
        if number % 50 == 49:
            row = replace(last[int(rng.integers(len(last)))], number=number)
        else:
            lengths = rng.integers(60, 100, 2)
            row = Row(number, int(rng.integers(pictures)), text(12), text(lengths[0]), text(lengths[1]))
            last = [*last[-KEEP_LAST:], row]
        yield row


def draw_picture(index: int) -> bytes:
    """A small noisy JPEG of about 3 kB."""
    rng = np.random.default_rng(index)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_parquet(
    folder: Path, rows: Iterator[Row], as_row: Callable[[Row, bytes], dict], pictures: list[bytes]
) -> None:
    """Files of `FILE_ROWS` rows in groups of `BATCH_ROWS`, as on the hub."""
    writer, written = None, 0
    batch: list[dict] = []
    folder.mkdir(parents=True, exist_ok=True)

    def flush() -> None:
        nonlocal writer
        table = pa.Table.from_pylist(batch)
        if written % FILE_ROWS == 0 and writer:
            writer.close()
            writer = None
        writer = writer or pq.ParquetWriter(folder / f"part_{written // FILE_ROWS:03d}.parquet", table.schema)
        writer.write_table(table)
        batch.clear()

    for row in rows:
        batch.append(as_row(row, pictures[row.picture]))
        if len(batch) == BATCH_ROWS:
            flush()
            written += BATCH_ROWS
    if batch:
        flush()
    if writer:
        writer.close()


def rlaif_v_row(row: Row, picture: bytes) -> dict:
    image = {"bytes": picture, "path": f"{row.picture}.jpg"}
    texts = {"question": row.question, "chosen": row.chosen, "rejected": row.rejected}
    more = {"ds_name": "synthetic", "origin_dataset": "synthetic", "origin_split": "{}", "idx": row.number}
    return {**more, "image": image, "image_path": f"{row.picture}.jpg", **texts}


def wildvision_row(row: Row, picture: bytes) -> dict:
    chats = [
        [{"role": "user", "content": row.question}, {"role": "assistant", "content": response}]
        for response in (row.chosen, row.rejected)
    ]
    image = {"bytes": picture, "path": f"{row.picture}.jpg"}
    return {"conversation_a": chats[0], "conversation_b": chats[1], "image": image, "winner": "model_a"}


def write_pictures(folder: Path, pictures: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        (folder / f"{index}.jpg").write_bytes(picture)


def write_lines(path: Path, rows: Iterator[Row], as_row: Callable[[Row], dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(as_row(row)) + "\n")


def vl_feedback_row(row: Row) -> dict:
    completions = [
        {"annotations": {"Helpfulness": {"Rating": rating, "Rationale": ""}}, "model": "m", "response": text}
        for rating, text in (("5", row.chosen), ("2", row.rejected))
    ]
    path = f"merged_images/{row.picture}.jpg"
    return {"id": str(row.number), "prompt": row.question, "completions": completions, "img_path": path}


def povid_row(row: Row) -> dict:
    asked = {"from": "human", "value": f"<image>\n{row.question}"}
    chats = [[asked, {"from": "gpt", "value": response}] for response in (row.chosen, row.rejected)]
    names = {"id": str(row.number), "image": f"{row.picture}.jpg"}
    return {**names, "conversations": chats[0], "rejected_conversations": chats[1]}


def write_source(root: Path, name: str, rows: Iterator[Row], pictures: list[bytes]) -> None:
    """The rows as files of a source in its own schema."""
    if name == "rlaif_v":
        write_parquet(root / name, rows, rlaif_v_row, pictures)
    elif name == "wildvision_battle":
        write_parquet(root / name / "data", rows, wildvision_row, pictures)
    elif name == "vl_feedback":
        write_pictures(root / name / "merged_images", pictures)
        write_lines(root / name / "vlfeedback_80k.jsonl", rows, vl_feedback_row)
    elif name == "povid":
        write_pictures(root / name / "images", pictures)
        with (root / name / "POVID.json").open("w", encoding="utf-8") as stream:
            stream.write("[")
            for index, row in enumerate(rows):
                stream.write((",\n" if index else "\n") + json.dumps(povid_row(row)))
            stream.write("]\n")
    else:
        subset = name.removeprefix("mm_rlhf_")
        write_pictures(root / "mm_rlhf" / subset, pictures)
        write_lines(
            root / "mm_rlhf" / "dpo_pairs.jsonl",
            rows,
            lambda row: {
                "id": str(row.number),
                "image": f"{subset}/{row.picture}.jpg",
                "prompt": row.question,
                "chosen": row.chosen,
                "rejected": row.rejected,
            },
        )


def write_data(root: Path, rows: int, pictures: int) -> None:
    """All sources together have `rows` rows; each picture is in about rows / pictures of them."""
    drawn = [draw_picture(index) for index in range(pictures)]
    total = sum(SIZES[name] for name in SOURCES)
    for index, name in enumerate(SOURCES):
        own = rows * SIZES[name] // total
        write_source(root, name, make_rows(own, pictures, np.random.default_rng([rows, index])), drawn)


def peak_bytes() -> int:
    """Peak memory of this process (Linux). `ru_maxrss` would count the parent that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def build(root: Path, rows: int) -> None:
    """What the fresh process does: build, and print what it took as JSON."""
    start = time.perf_counter()
    stages: list[tuple[str, float, int]] = []
    built = build_dataset(
        root,
        root / "built",
        sampled_pairs=rows // 4,
        seed=0,
        progress=lambda stage: stages.append((stage, time.perf_counter(), peak_bytes())),
    )
    end = time.perf_counter()
    ends = [stage[1:] for stage in stages[1:]] + [(end, peak_bytes())]
    duplicates = [counts["duplicates"] for counts in built.sources.values()]
    result = {
        "rows": sum(counts["read"] for counts in built.sources.values()),
        "pairs": len(built),
        "seconds": end - start,
        "cpu_seconds": time.process_time(),
        "bytes": peak_bytes(),
        "exact": sum(counts.get("exact", 0) for counts in duplicates),
        "stages": {
            name: f"{until - since:.1f} s, {peak / 1e6:.0f} MB"
            for (name, since, _), (until, peak) in zip(stages, ends, strict=True)
        },
    }
    print(json.dumps(result))


def measure(rows: int, pictures: int) -> dict:
    """Write the data into a temporary folder and build it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), rows, pictures)
        command = [sys.executable, __file__, "--build", folder, "--rows", str(rows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print time, memory and growth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.build, arguments.rows[0])
        return
    results = []
    for rows in arguments.rows:
        result = measure(rows, arguments.pictures)
        results.append(result)
        print(
            f"{result['rows']:,} rows, {result['pairs']:,} pairs: {result['seconds']:.1f} s "
            f"({result['cpu_seconds']:.1f} s of a core), {result['bytes'] / 1e6:.0f} MB; "
            f"{result['exact']} duplicates",
            flush=True,
        )
        print("\n".join(f"    {name}: {taken}" for name, taken in result["stages"].items()), flush=True)
    for small, large in pairwise(results):
        growth = (large["bytes"] - small["bytes"]) / (large["rows"] - small["rows"])
        times = [large[name] / small[name] for name in ("seconds", "cpu_seconds")]
        print(f"{times[0]:.2f} times the time ({times[1]:.2f} of a core), {growth:.0f} more bytes a row")


if __name__ == "__main__":
    main()
