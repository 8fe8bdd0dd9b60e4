"""What the settings of the mini world, data, benchmarks, votes, policies, stress cells and the cluster do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import nbformat
import pytest
from studio import Changes, Studio, effect, watch_engine

from r1reward.bench import evaluate as bench
from r1reward.bench.evaluate import evaluate, judge_often
from r1reward.cluster.prepare import rl_flags
from r1reward.config import load_profile
from r1reward.data.annotators import OpenAIAnnotator, answers_folder, make_annotator
from r1reward.data.sources import ALL_SOURCES, SOURCES
from r1reward.downstream import policy
from r1reward.downstream.questions import Question, write_questions
from r1reward.files import read_jsonl
from r1reward.judge.generative import R1Reward
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.mini.world import find_sources
from r1reward.pictures import Budget
from r1reward.pipeline.overview import profiles
from r1reward.settings.inputs import SourceName
from r1reward.train import grid as grid_module
from r1reward.train.grid import VARIANTS, Grid, Variant, run_grid
from r1reward.train.stress import CELLS, run_fresh, search_cells

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
TABLE_2 = get_args(SourceName)[:8]


def some_grid(studio: Studio, changes: Changes) -> Grid:
    folder = studio.folder / "grid"
    places = [folder / name for name in ("judges", "references", "work", "records")]
    pairs = {name: studio.world.pairs for name in ("hard", "easy", "sure")}
    return Grid(studio.profile(changes), {0: studio.world.model, 1: studio.world.model}, pairs, (), *places)


@effect("processes")
def runs_of_a_grid_go_side_by_side(studio: Studio) -> None:
    """So many at a time."""
    used = []

    def run_all(calls: dict[str, Any], *, processes: int) -> dict[str, Any]:
        used.append((len(calls), processes))
        return {name: {} for name in calls}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "side_by_side", run_all)
        for processes in (1, 3):
            run_grid(some_grid(studio, {"processes": processes}), [VARIANTS["judge_random"]])
    assert used == [(2, 1), (2, 3)]


@effect("stress.rollout_batch_size", "stress.steps", "stress.seeds", "stress.fresh_seeds", "stress.cells")
def stress_cells_are_of_this_size(studio: Studio) -> None:
    """Settings and seeds of every run that the search and the fresh seeds ask for."""
    for size, steps, seeds, fresh, cells in ((8, 3, 2, 4, 1), (4, 2, 3, 1, 2)):
        names = ("rollout_batch_size", "steps", "seeds", "fresh_seeds", "cells")
        values = dict(zip(names, (size, steps, seeds, fresh, cells), strict=True))
        base = some_grid(studio, {f"stress.{name}": value for name, value in values.items()})
        asked: list[tuple[int, int, int | None, int]] = []

        def train(grid: Grid, variants: Sequence[Variant], asked: list[Any] = asked) -> dict[str, Any]:
            rl = grid.profile.rl
            asked.append((rl.rollout_batch_size, rl.train_batch_size, rl.max_steps, len(grid.starts)))
            about = {"status": "finished"}
            runs = [(variant.name, seed) for variant in variants for seed in grid.starts]
            return {f"{v}, {s}": {"variant": v, "seed": s, **about} for v, s in runs}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("r1reward.train.stress.run_grid", train)
            found = search_cells(base)
            tried, searched = len(found["tried"]), list(asked)
            asked.clear()
            run_fresh(base, found)
        assert tried == cells <= len(CELLS)
        assert set(searched) == {(size, size // 2, steps, seeds)}
        assert set(asked) == {(size, size // 2, steps, fresh)}


@effect("bench.sampled_temperature", "bench.unparsed")
def benchmarks_are_sampled_and_scored_so(studio: Studio) -> None:
    """An untrained judge has no verdict: all wrong, or nothing to count; greedy means temperature 0."""
    for temperature, unparsed in ((0.5, "wrong"), (2.0, "drop")):
        profile = studio.profile({"bench.sampled_temperature": temperature, "bench.unparsed": unparsed})
        out = studio.folder / f"bench_{unparsed}"
        with watch_engine() as calls:
            scores = evaluate(
                studio.world.model, studio.pairs()[:2], profile=profile, seed=0,
                work=out / "work", record=out, modes=("greedy", "sampled"),
            )  # fmt: skip
        assert [call.sampling.temperature for call in calls] == [0.0, temperature]
        values = [score.accuracy for score in scores.values()]
        assert values == [0.0, 0.0] if unparsed == "wrong" else all(value != value for value in values)


@effect("scaling.samples", "scaling.pairs")
def a_pool_holds_so_many_answers_to_so_many_pairs(studio: Studio) -> None:
    """In its record, for either order."""
    for samples, count in ((3, 2), (4, 4)):
        profile = studio.profile({"scaling.samples": samples, "scaling.pairs": count})
        out = studio.folder / f"pool_{samples}"
        record = out / "pool.jsonl"
        judge_often(
            studio.world.model, studio.pairs(), profile=profile, seed=0, work=out / "work", record=record
        )
        rows = [row for row in read_jsonl(record) if "verdicts" in row]
        assert len(rows) == count
        assert {len(verdicts) for row in rows for verdicts in row["verdicts"]} == {samples}


@effect("bench.real_rows")
def so_many_rows_of_the_real_file_are_judged(studio: Studio) -> None:
    """The first ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "load_benchmark", lambda *_, **__: studio.pairs())
        for rows in (1, 3):
            outcome = bench.run_real_file(
                studio.world.model, (Path("file"), []), profile=studio.profile({"bench.real_rows": rows}),
                prompt="mini", work=studio.folder / f"real_{rows}",
            )  # fmt: skip
            assert outcome["rows"] == rows


@effect("data.root")
def real_files_take_the_place_of_the_mini_world(studio: Studio) -> None:
    """Nothing is written where a root is named."""
    root = find_sources(studio.profile({"data.root": str(studio.folder)}), studio.folder / "world", 0)
    assert root == studio.folder and not (studio.folder / "world").exists()


@effect("data.annotator", "data.openai.folder")
def the_annotator_is_a_script_or_a_server(studio: Studio) -> None:
    """The script with its weaknesses (tests/mini/test_annotator.py has each); paid answers have a folder."""
    noisy, paid = (studio.profile({"data.annotator": name, "data.script.slips": 0.75,
                                   "data.openai.folder": "/paid", "data.openai.key_variable": ""}).data
                   for name in ("scripted", "openai"))  # fmt: skip
    truth = studio.folder / "truth.jsonl"
    truth.write_text("")
    scripted = make_annotator(noisy, truth, 0)
    assert isinstance(scripted, ScriptedAnnotator) and "0.75" in scripted.fingerprint
    assert isinstance(make_annotator(paid, truth, 0), OpenAIAnnotator)
    assert answers_folder(paid, studio.folder, paid=studio.folder) == Path("/paid")
    assert answers_folder(noisy, studio.folder, paid=Path("/x")) == studio.folder


class Built:
    """In place of the built data: notes how it was asked for, and how much is held out."""

    positions: Mapping[int, int] = {}

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.held_out = 0

    def __call__(self, *_: Any, **how: Any) -> Built:
        self.asked = how
        return self

    def __len__(self) -> int:
        return 0

    def hold_out(self, count: int, *, seed: int) -> tuple[Built, list[Any]]:
        self.held_out = count
        return self, []


def cell_of(notebook: str, part: str) -> str:
    """The code of the cell of a notebook that has these words in it."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    (found,) = (cell.source for cell in cells if cell.cell_type == "code" and part in cell.source)
    return found


@effect("data.sources", "data.validation_pairs")
def sources_and_held_out_pairs_are_those_of_the_profile(studio: Studio) -> None:
    """The cells of notebook 01, with the building itself replaced; all sources where none is named."""
    for named, count, read in ((("povid",), 3, ["povid"]), ((), 5, list(TABLE_2))):
        settings = studio.profile({"data.sources": named, "data.validation_pairs": count}).data
        run, built = SimpleNamespace(seed=0), Built()
        given = {"settings": settings, "run": run, "root": Path(), "data": studio.fresh(), "cache": Path()}
        given |= {"ALL_SOURCES": ALL_SOURCES, "SOURCES": SOURCES, "budget": Budget(784, 7056)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("r1reward.data.build.build_dataset", built)
            patch.setattr("r1reward.bench.load.load_validation", lambda *_, **__: [])
            names: dict[str, Any] = {**given, "benchmarks": {}}
            exec(cell_of("01_data_construction", "build_dataset("), names)
            exec("from r1reward.data.storage import write_pairs", names)
            exec(cell_of("01_data_construction", "hold_out("), names)
        assert set(read) <= set(built.asked["sources"]) and (named == () or len(built.asked["sources"]) == 1)
        assert built.held_out == count and built.asked["budget"] == Budget(784, 7056)


@effect("sentence")
def the_sentence_says_what_a_profile_is_for(studio: Studio) -> None:
    """In the table of profiles that the start notebook shows."""
    shown = profiles().set_index("profile")["for"]
    assert shown["mini"] == load_profile("mini").sentence != shown["smoke"]


def questions(studio: Studio) -> Path:
    path = studio.folder / "questions.jsonl"
    some = [Question(f"what is {number} ?", (), "a ring", "world", str(number)) for number in range(9)]
    write_questions(path, some)
    return path


@effect("downstream.prompts", "downstream.max_new_tokens", "downstream.judge_engine", "downstream.tournament",
        "downstream.rounds")  # fmt: skip
def a_policy_is_trained_on_so_many_prompts_by_such_a_judge(studio: Studio) -> None:
    """What arrives at the training, and with it all of `downstream.rl`."""
    arrived: list[tuple[Any, ...]] = []
    judges: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "train_policy", lambda *given, **named: arrived.append((*given, named)))
        patch.setattr(R1Reward, "from_pretrained", lambda *_, **named: judges.append(named["engine"]))
        patch.setattr(policy, "TournamentTask", lambda judge, *how: how)
        for prompts, tokens, engine, kind, rounds in (
            (2, 7, None, "random", 2),
            (5, 8, "openai", "swiss", 4),
        ):
            values = {"prompts": prompts, "max_new_tokens": tokens, "judge_engine": engine,
                      "tournament": kind, "rounds": rounds, "right_answers": None}  # fmt: skip
            changes = {f"downstream.{name}": value for name, value in values.items()}
            profile = studio.profile(changes)
            folders = {"out": studio.folder / "policy", "record": studio.folder / "policy"}
            policy.train_with_judge("start", questions(studio), "judge", profile=profile, seed=0, **folders)
            how, start, items, named = arrived.pop()
            assert (how, start, len(items)) == ((kind, rounds), "start", prompts)
            assert named["engine_settings"].max_new_tokens == tokens
            assert named["settings"] == profile.downstream.rl and judges.pop() == engine


@effect("downstream.policy", "downstream.layers")
def the_mini_policy_keeps_these_layers(studio: Studio) -> None:
    """And learns by `downstream.sft`; another policy is taken as it is."""
    kept: list[tuple[Any, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "keep_layers", lambda base, layers, folder: kept.append((base, layers)))
        patch.setattr(policy, "train_sft", lambda start, lessons, **named: named["settings"])
        for layers in ((0, 1), (0, 3)):
            profile = studio.profile({"downstream.policy": "mini", "downstream.layers": layers})
            out = studio.folder / f"policy_{layers[1]}"
            learnt = policy.make_policy(profile, lessons=Path("lessons"), out=out, seed=0)
            assert learnt == profile.downstream.sft and kept.pop() == ("mini", layers)
    other = studio.profile({"downstream.policy": "some/model"})
    assert policy.make_policy(other, lessons=Path("lessons"), out=studio.folder, seed=0) == "some/model"


@effect("downstream.tournament_prompts")
def cheaper_tournaments_are_held_on_so_many_prompts(studio: Studio) -> None:
    """Whose answers are sampled as in training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(R1Reward, "from_pretrained", lambda *_, **__: R1Reward)
        patch.setattr(policy, "hold_tournaments", lambda answered, compare: [{"n": len(answered)}])
        patch.setattr(policy, "sample_answers", lambda policy, drawn, **_: [["a"] for _ in drawn])
        for count in (2, 5):
            profile = studio.profile({"downstream.tournament_prompts": count})
            record = studio.folder / "tournaments.jsonl"
            policy.measure_tournaments(
                "policy", questions(studio), "judge", profile=profile, record=record, seed=0
            )
            assert read_jsonl(record) == [{"n": count}]


def flags(studio: Studio, changes: Changes) -> dict[str, str]:
    """The command line of a cluster run."""
    place, sizes = (
        Path("/x"),
        {"rl.rollout_batch_size": 8, "rl.train_batch_size": 8, "rl.micro_batch_size": 1},
    )
    profile = studio.profile({**sizes, "cluster.gpus_per_node": 2, "cluster.engines": 2, **changes})
    known = {"start": place, "prompts": place, "agent": place, "out": place, "pictures": 1, "passes": 1}
    found: dict[str, str] = {}
    for word in rl_flags(profile, **known, seed=0):
        if word.startswith("--"):
            last = word[2:]
            found[last] = ""
        else:
            found[last] += word
    return found


CLUSTER = {
    "nodes": ({"cluster.nodes": 2, "cluster.engines": 4}, ("actor.num_nodes", "2")),
    "gpus_per_node": ({"cluster.gpus_per_node": 4, "cluster.engines": 4}, ("actor.num_gpus_per_node", "4")),
    "engines": ({"cluster.engines": 1, "cluster.colocate": False}, ("vllm.num_engines", "1")),
    "tensor_parallel_size": (
        {"cluster.tensor_parallel_size": 2, "cluster.engines": 1}, ("vllm.tensor_parallel_size", "2"),
    ),
    "colocate": ({"cluster.colocate": False}, ("train.colocate_all", None)),
    "sync_backend": ({"cluster.sync_backend": "gloo"}, ("vllm.sync_backend", "gloo")),
    "zero_stage": ({"cluster.zero_stage": 2}, ("ds.zero_stage", "2")),
    "gradient_checkpointing": (
        {"cluster.gradient_checkpointing": False}, ("actor.gradient_checkpointing_enable", None),
    ),
    "offload_optimizer": ({"cluster.offload_optimizer": True}, ("ds.adam_offload", "")),
    "freeze_vision": ({"cluster.freeze_vision": True}, ("actor.freeze_visual_encoder", "")),
    "attention": ({"cluster.attention": "sdpa"}, ("ds.attn_implementation", "sdpa")),
    "engine_memory": ({"cluster.engine_memory": 0.25}, ("vllm.gpu_memory_utilization", "0.25")),
    "eager": ({"cluster.eager": True}, ("vllm.enforce_eager", "")),
    "measure_mismatch": ({"cluster.measure_mismatch": True}, ("algo.advantage.is_correction_level", "token")),
}  # fmt: skip


@effect(*(f"cluster.{name}" for name in CLUSTER))
def the_cluster_is_started_so(studio: Studio) -> None:
    """Each is a flag of the trainer, with another value than without the change."""
    before = flags(studio, {})
    for name, (changes, (flag, value)) in CLUSTER.items():
        assert flags(studio, changes).get(flag) == value != before.get(flag), name
