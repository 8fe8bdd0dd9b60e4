import re

import pytest

from r1reward.files import read_json, write_json
from r1reward.locks import BusyError
from r1reward.pipeline.dag import find_notebook
from r1reward.pipeline.merge import publish_notebooks
from r1reward.pipeline.publish import NotPublishableError, publish
from r1reward.pipeline.rendering import refresh_drawing
from r1reward.pipeline.staleness import compute_lock, output_hashes
from r1reward.pipeline.verify import verify


def publish_named(checkout, *names):
    context = checkout.context
    chosen = [find_notebook(name, context.notebooks) for name in names]
    return publish_notebooks(context, chosen, render=checkout.render)


def faults(checkout):
    return verify(checkout.context.places, "tiny", render=checkout.render)


def published(checkout, name):
    return (checkout.root / "results/tiny" / name).read_text()


def test_only_the_named_notebook_is_replaced(checkout):
    context = checkout.fake_finished_run()
    publish(context)
    write_json(checkout.root / "results/tiny/runs/grid/wo_filter/seed_0/run.json", 1)
    made, used = published(checkout, "records/made.json"), published(checkout, "records/used/seed_0.json")
    checkout.fake_finished_run(made=5, used=7)
    publish_named(checkout, "02")
    assert published(checkout, "records/made.json") == made
    assert published(checkout, "records/used/seed_0.json") != used
    assert published(checkout, "runs/grid/wo_filter/seed_0/run.json")
    assert faults(checkout) == []


def test_records_that_the_new_run_lacks_are_gone(checkout):
    context = checkout.fake_finished_run()
    publish(context)
    file = checkout.root / "results/tiny/records/used/seed_9.json"
    write_json(file, 1)
    publish_named(checkout, "02")
    assert not file.exists() and faults(checkout) == []


def test_nothing_is_published_of_a_run_that_goes_on(checkout, other_process):
    context = checkout.fake_finished_run()
    refresh_drawing(context, render=checkout.render)
    other_process.hold(context.folder / ".lock")
    with pytest.raises(BusyError, match="in use by another process"):
        publish_named(checkout, "02")
    with pytest.raises(BusyError, match="in use by another process"):
        publish(context)
    assert not (checkout.root / "results/tiny").exists()


def test_nothing_need_be_published_before(checkout):
    checkout.fake_finished_run()
    publish_named(checkout, "01_make")
    assert faults(checkout) == []


def test_a_stale_notebook_is_refused_and_others_are_not_asked(checkout):
    context = checkout.fake_finished_run()
    publish(context)
    context.manifest_file(context.notebooks[0]).unlink()
    publish_named(checkout, "02")
    write_json(context.folder / "records/used/seed_0.json", 3)
    with pytest.raises(NotPublishableError, match=r"02_use is stale: output records/used/seed_0.json"):
        publish_named(checkout, "02")


@pytest.mark.parametrize("seeds", [[0, 1, 2], [5, 6]])
def test_other_seeds_are_refused(checkout, seeds):
    context = checkout.fake_finished_run()
    publish(context)
    file = checkout.root / "results/tiny/manifests/01_make.json"
    write_json(file, read_json(file) | {"seeds": seeds})
    advice = f"--seed {seeds[0]} --seeds {len(seeds)}"
    with pytest.raises(NotPublishableError, match=f"01_make .* seeds {re.escape(str(seeds))}.*{advice}"):
        publish_named(checkout, "02")


def test_what_is_published_from_other_outputs_is_not_mixed_with_these(checkout):
    context = checkout.fake_finished_run()
    publish(context)
    publish_named(checkout, "01")
    write_json(context.folder / "work/made/number.txt", 9)
    for notebook in context.notebooks:
        manifest = read_json(context.manifest_file(notebook))
        manifest["outputs"] = output_hashes(checkout.context, notebook)
        manifest["lock"] = compute_lock(checkout.context, notebook)
        write_json(context.manifest_file(notebook), manifest)
    with pytest.raises(NotPublishableError, match=r"02_use is published with another work/made than 01_make"):
        publish_named(checkout, "01")
    publish_named(checkout, "01", "02")
    assert faults(checkout) == []


def test_other_weights_by_the_same_name_are_refused(checkout):
    context = checkout.fake_finished_run()
    publish(context)
    name = "records/sft/seed_0/status.json"
    write_json(checkout.root / "results/tiny" / name, {"weights": "a"})
    write_json(context.folder / name, {"weights": "a"})
    publish_named(checkout, "02")
    write_json(context.folder / name, {"weights": "b"})
    with pytest.raises(NotPublishableError, match=r"seed_0/status.json names other weights"):
        publish_named(checkout, "02")
