"""The benchmarks of a folder, and where the pictures that their files hold are written."""

from pathlib import Path

import pytest

from r1reward.bench.load import VALIDATION, load_benchmarks, load_validation
from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    sizes = {"benchmark_pairs": 12, "validation_pairs": 7, "multimodal_pairs": 30, "mm_rlhf_pairs": 20}
    write_world(folder, WorldSettings(pairs_per_source=1, **sizes), seed=0)
    return folder


def test_pictures_of_each_benchmark_and_of_the_validation_split_lie_in_folders_of_their_own(
    world: Path, tmp_path: Path
) -> None:
    """The other two are files of pictures already, which are shown where they are."""
    found = {**load_benchmarks(world, cache=tmp_path), VALIDATION: load_validation(world, cache=tmp_path)}
    places = {name: {Path(path).parent for pair in pairs for path in (*pair.images, *pair.frames)}
              for name, pairs in found.items()}  # fmt: skip
    assert [places.pop(name) for name in (VL, VALIDATION)] == [{tmp_path / VL}, {tmp_path / VALIDATION}]
    assert list(places) == [MULTIMODAL, MM_RLHF]
    assert all(place.is_relative_to(world / name) for name in places for place in places[name])
    assert len(found[VALIDATION]) == 7 and len(found[VL]) == 12


def test_a_folder_without_a_validation_split_has_no_pairs_of_it(world: Path, tmp_path: Path) -> None:
    assert load_validation(world / VL, cache=tmp_path) == []
