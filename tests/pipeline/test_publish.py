import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from r1reward.files import append_jsonl, read_json, write_atomic, write_json
from r1reward.pipeline import publish as publishing
from r1reward.pipeline import runner
from r1reward.pipeline.places import Places
from r1reward.pipeline.publish import NotPublishableError, keep_grid_runs, publish, replace_folder
from r1reward.pipeline.staleness import ParameterError, make_context
from r1reward.pipeline.verify import compare_files, published_profiles, redraw_published, verify


@pytest.fixture
def published(checkout):
    """A checkout with a published run, and a function that lists the faults of what is committed."""
    publish(checkout.fake_finished_run())
    return checkout, lambda: verify(checkout.context.places, "tiny", render=checkout.render)


def test_what_is_published_verifies(published):
    checkout, faults = published
    assert faults() == []
    assert published_profiles(checkout.context.places) == ["tiny"]
    files = {path.relative_to(checkout.root).as_posix() for path in checkout.root.glob("*/tiny/**/*.*")}
    committed = {name for name in files if not name.startswith("runs/")}
    assert committed == {
        "results/tiny/records/made.json", "results/tiny/records/used/seed_0.json",
        "results/tiny/tables/table_01.csv", "results/tiny/manifests/01_make.json",
        "results/tiny/manifests/02_use.json", "figures/tiny/figure_1.png", "figures/tiny/figure_1.svg",
    }  # fmt: skip


def test_publishing_again_replaces_everything_but_grid_records(published):
    checkout, faults = published
    kept = checkout.root / "results/tiny/runs/grid/wo_filter/seed_0/run.json"
    write_json(kept, 1)
    write_json(checkout.root / "results/tiny/records/stray.json", 1)
    publish(checkout.context)
    assert kept.exists() and faults() == []
    assert sorted(path.name for path in (checkout.root / "results").iterdir()) == ["tiny"]
    [stray] = checkout.context.folder.glob("aside/*/results/tiny/records/stray.json")
    assert read_json(stray) == 1, "what was published before is kept under the date"
    publish(checkout.context)
    assert len(list(checkout.context.folder.glob("aside/*"))) == 1, "the same again replaces nothing"


@pytest.mark.parametrize("name", ["results/tiny/table_01.csv", "figures/tiny/photograph.png"])
def test_a_folder_that_holds_no_published_run_is_left_alone(checkout, name):
    context = checkout.fake_finished_run()
    file = write_json(checkout.root / name, "of somebody else")
    with pytest.raises(NotPublishableError, match="holds something else than a published run"):
        publish(context)
    assert read_json(file) == "of somebody else"
    assert not (checkout.root / "results/tiny/records").exists()


def test_a_run_of_the_profile_paper_does_not_replace_what_the_paper_prints():
    places = Places(Path("root"), Path("runs"))
    assert places.printed == Path("root/results/paper")
    assert places.results("paper") == Path("root/results/paper_run")
    assert places.figures("paper") == Path("root/figures/paper_run")
    assert places.results("mini") == Path("root/results/mini")


def test_a_partial_run_is_published_on_request(checkout):
    context = checkout.fake_finished_run()
    context.manifest_file(context.notebooks[1]).unlink()
    (context.folder / "records/used/seed_0.json").unlink()
    runner.refresh_drawing(context, render=checkout.render)
    with pytest.raises(NotPublishableError, match="02_use is not run yet"):
        publish(context)
    publish(context, partial=True)
    assert verify(context.places, "tiny", render=checkout.render) == []
    write_json(context.folder / "work/made/number.txt", 7)
    with pytest.raises(NotPublishableError, match="01_make is stale"):
        publish(context, partial=True)


def test_finished_grid_runs_are_kept_until_the_grid_is_published(checkout):
    records, kept = checkout.context.folder / "records/grid", checkout.root / "results/tiny/runs/grid"
    write_json(records / "wo_filter/seed_0/run.json", {"key": "a"})
    write_json(records / "wo_filter/seed_0/metrics.jsonl", 1)
    write_json(records / "wo_filter/seed_1/metrics.jsonl", 1)
    assert keep_grid_runs(checkout.context) == [kept / "wo_filter/seed_0"]
    assert sorted(path.name for path in kept.rglob("*.json*")) == ["metrics.jsonl", "run.json"]
    publish(checkout.fake_finished_run())
    assert not kept.exists()
    assert (checkout.root / "results/tiny/records/grid/run.parquet").is_file()
    assert keep_grid_runs(checkout.context) == [], "it is published already"


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_grid_run_that_was_copied_in_part_is_no_run(checkout, monkeypatch, written):
    """What is read is `run.json`: it comes when all that it speaks of is there."""
    names = ("metrics.jsonl", "run.json", "status.json")
    for name in names:
        write_json(checkout.context.folder / "records/grid/wo_filter/seed_0" / name, name)
    kept = checkout.root / "results/tiny/runs/grid/wo_filter/seed_0"

    def write(path, content):
        if len(list(kept.iterdir())) == written:
            raise OSError("disk full")
        return write_atomic(path, content)

    kept.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "write_atomic", write)
        with pytest.raises(OSError, match="disk full"):
            keep_grid_runs(checkout.context)
    assert len(list(kept.iterdir())) == written and not (kept / "run.json").exists()
    keep_grid_runs(checkout.context)
    assert {path.name: read_json(path) for path in kept.iterdir()} == {name: name for name in names}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            lambda r: write_json(r / "results/tiny/records/made.json", 7),
            "records/made.json: differs from what 01_make",
        ),
        (
            lambda r: (r / "results/tiny/records/made.json").unlink(),
            "records/made.json: missing, although 01_make",
        ),
        (lambda r: write_json(r / "results/tiny/records/x.json", 7), "records/x.json: no manifest knows it"),
        (
            lambda r: write_json(r / "results/tiny/tables/table_01.csv", 7),
            "table_01.csv: differs from what is drawn",
        ),
        (lambda r: (r / "figures/tiny/figure_1.png").unlink(), "figure_1.png: missing"),
        (lambda r: write_json(r / "figures/tiny/figure_9.svg", 1), "figure_9.svg: nothing draws it"),
        (
            lambda r: Image.new("RGB", (8, 8)).save(r / "figures/tiny/figure_1.png"),
            "figure_1.png: differs by",
        ),
        (
            lambda r: Image.new("RGB", (9, 8)).save(r / "figures/tiny/figure_1.png"),
            "has 9x8 pixels, drawn 8x8",
        ),
    ],
)
def test_damage_is_found(published, damage, fault):
    checkout, faults = published
    damage(checkout.root)
    assert any(fault in found for found in faults())


def changed(file: Path) -> None:
    table = pq.read_table(file)
    losses = pa.array([table["loss"][0].as_py() + 1e-15, *table["loss"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("loss"), table.field("loss"), losses), file)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (changed, "records/used/arm/seed_0/metrics.jsonl: differs from what 02_use wrote"),
        (Path.unlink, "records/used/arm/seed_1/metrics.jsonl: missing, although 02_use wrote it"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "metrics.parquet: cannot be read"),
        (lambda file: shutil.copy(file, file.with_name("copy.parquet")), "metrics.jsonl is there twice"),
    ],
)
def test_damage_of_a_table_of_records_is_found(checkout, damage, fault):
    for seed in range(2):
        rows = [{"step": step, "loss": 0.5 / (seed + step)} for step in (1, 2)]
        append_jsonl(checkout.context.folder / f"records/used/arm/seed_{seed}/metrics.jsonl", rows)
    publish(checkout.fake_finished_run())
    places = checkout.context.places
    assert verify(places, "tiny", render=checkout.render) == []
    damage(places.results("tiny") / "records/used/metrics.parquet")
    assert any(fault in found for found in verify(places, "tiny", render=checkout.render))


def test_redrawing_mends_tables_and_figures(published):
    checkout, faults = published
    write_json(checkout.root / "results/tiny/tables/table_01.csv", 7)
    write_json(checkout.root / "figures/tiny/figure_9.svg", 7)
    redraw_published(checkout.context.places, "tiny", render=checkout.render)
    assert faults() == []
    assert not (checkout.root / "figures/tiny/figure_9.svg").exists()
    [stray] = checkout.root.glob("runs/aside/*/figures/tiny/figure_9.svg")
    assert read_json(stray) == 7
    redraw_published(checkout.context.places, "tiny", render=checkout.render)
    assert len(list(checkout.root.glob("runs/aside/*"))) == 1, "what can be drawn again is not kept"


def test_nothing_published_is_a_fault(checkout):
    places = checkout.context.places
    for named, said in (("tiny", "nothing is published for tiny"), ("", "nothing is published in")):
        with pytest.raises(FileNotFoundError, match=said):
            published_profiles(places, named)
    publish(checkout.fake_finished_run())
    with pytest.raises(FileNotFoundError, match="there are results of tiny"):
        published_profiles(places, "../tiny")


@pytest.mark.parametrize("damage", ["{}", "[1]", '{"outputs": 1', ""])
def test_a_damaged_published_manifest_is_named(published, damage):
    checkout, faults = published
    file = write_atomic(checkout.root / "results/tiny/manifests/01_make.json", damage)
    with pytest.raises(ValueError, match=str(file)):
        faults()


def test_records_that_cannot_be_drawn_are_listed(published):
    """The report may fail with any error on a record that was edited: what changed is said before that."""
    checkout, _ = published
    (checkout.root / "results/tiny/records/made.json").unlink()

    def render(root):
        raise KeyError("made")

    places = checkout.context.places
    missing = "records/made.json: missing, although 01_make wrote it"
    *found, last = verify(places, "tiny", render=render)
    assert found == [missing] and "cannot be drawn: KeyError: 'made'" in last
    with pytest.raises(ValueError, match=missing):
        redraw_published(places, "tiny", render=render)
    publish(checkout.fake_finished_run())
    with pytest.raises(KeyError):
        verify(places, "tiny", render=render)


@pytest.mark.parametrize("folder", ["results", "figures"])
def test_a_run_does_not_lie_where_it_is_published(published, folder):
    checkout, _ = published
    places = Places(checkout.root, checkout.root / folder)
    parameters = checkout.context.parameters
    with pytest.raises(ParameterError, match="for what is published: take another folder"):
        make_context(places, parameters)
    with pytest.raises(ParameterError, match="for what is published: take another folder"):
        make_context(
            checkout.context.places, parameters.model_copy(update={"out": str(checkout.root / folder)})
        )


def test_an_unfinished_or_stale_run_is_not_published(checkout):
    with pytest.raises(
        NotPublishableError, match=r"01_make is not run yet(.|\n)*run `r1reward run --profile"
    ):
        publish(checkout.context)
    checkout.fake_finished_run()
    checkout.setting("[rl]\nepochs = 3", "[rl]\nepochs = 4")
    with pytest.raises(NotPublishableError, match=r"02_use is stale: setting rl\.epochs changed from 3 to 4"):
        publish(checkout.context)
    assert not (checkout.root / "results").exists()


def test_tables_drawn_from_other_records_are_not_published(checkout):
    context = checkout.fake_finished_run()
    (context.folder / "tables/table_01.csv").write_text("by hand")
    with pytest.raises(NotPublishableError, match="tables and figures are not drawn from these records"):
        publish(context)


def test_a_replacement_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    target, source = tmp_path / "target", tmp_path / "source"
    write_json(target / "a.json", "old")
    write_json(source / "a.json", "new")
    rename = Path.rename

    def fail(self, other):
        if self.name.endswith(".new"):
            raise OSError("disk full")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_folder(target, {"": source}, dispose=shutil.rmtree)
    assert (target / "a.json").read_text() == '"old"\n'
    monkeypatch.undo()

    target.rename(tmp_path / ".target.old")  # as a process killed between the two renames leaves it
    replace_folder(target, {"": source}, dispose=shutil.rmtree)
    assert (target / "a.json").read_text() == '"new"\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_what_a_killed_publication_left_is_disposed_of_and_not_deleted(tmp_path):
    target, source, kept = (tmp_path / name for name in ("target", "source", "kept"))
    write_json(target / "a.json", "new")
    write_json(source / "a.json", "newer")
    write_json(tmp_path / ".target.old/a.json", "old")
    write_json(tmp_path / ".target.new/a.json", "half")

    def keep(folder):
        folder.rename(kept / str(len(list(kept.iterdir()))))

    kept.mkdir()
    replace_folder(target, {"": source}, dispose=keep)
    assert [read_json(kept / number / "a.json") for number in "01"] == ["old", "new"]
    assert read_json(target / "a.json") == "newer"


def png(level):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("a.svg", b"<svg><dc:date>1</dc:date>x</svg>", b"<svg><dc:date>2</dc:date>x</svg>", True),
        ("a.svg", b"<svg>x</svg>", b"<svg>y</svg>", False),
        ("a.csv", b"1.0\n", b"1.00\n", False),
        ("a.png", png(100), png(101), True),
        ("a.png", png(100), png(110), False),
        ("a.pdf", b"1", b"2", False),
    ],
)
def test_each_kind_of_file_has_its_rule(tmp_path, name, one, other, same):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "one" / name).write_bytes(one)
    (tmp_path / "other" / name).write_bytes(other)
    assert (compare_files(tmp_path / "one" / name, tmp_path / "other" / name) == "") == same
