"""The chain of notebooks as doit tasks. doit orders them; staleness is decided here, by content."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from r1reward.locks import acquire, release
from r1reward.pipeline.dag import Notebook, find_notebook, sources_of, with_sources
from r1reward.pipeline.execute import execute
from r1reward.pipeline.ready import check_surroundings, refuse_stale_work
from r1reward.pipeline.rendering import Render, draw, refresh_drawing
from r1reward.pipeline.staleness import Context, State, examine, wanted_notebooks


def run_notebooks(
    context: Context,
    names: Sequence[str] = (),
    *,
    jobs: int = 1,
    force: bool = False,
    alone: bool = False,
    render: Render = draw,
) -> bool:
    """Run what is stale of the named notebooks and of what they read.

    When none is named all run but those on request that were never begun. `force` runs the named ones even
    when fresh, and moves aside what they made; `alone` takes what they read as it lies there, however it
    stands. Draws tables and figures afterwards. Returns whether everything succeeded; errors of notebooks are
    printed. Raises BusyError while another run goes on, and before anything runs StaleWorkError where work
    of more than a minute would be started afresh without `force`, NotReadyError where a folder, a server's
    key or an extra of the package is missing.
    """
    chosen = [find_notebook(name, context.notebooks) for name in names] or wanted_notebooks(context)
    lock = context.folder / ".lock"
    acquire(lock, what=f"the run folder {context.folder}")
    try:
        wanted = chosen if alone else with_sources(chosen, context.notebooks)
        forced = chosen if force else []
        refuse_stale_work(context, wanted, forced=forced)
        check_surroundings(context, [one for one in wanted if one in forced or not _is_fresh(context, one)])
        succeeded = _run_doit(context, chosen, jobs, alone=alone, force=force)
        if refresh_drawing(context, render=render):
            print(f"drew tables and figures in {context.folder}")
        return succeeded
    finally:
        release(lock)


def _run_doit(context: Context, chosen: Sequence[Notebook], jobs: int, *, alone: bool, force: bool) -> bool:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def task_notebook() -> Iterator[dict[str, Any]]:
        for notebook in context.notebooks:
            sources = [] if alone else sources_of(notebook, context.notebooks)
            yield _task(context, notebook, sources, force=force and notebook in chosen)

    configuration = {
        "backend": "sqlite3",
        "dep_file": ":memory:",  # what is up to date is known from the manifests
        "default_tasks": [notebook.name for notebook in chosen],
        "reporter": _reporter(),
    }
    loader = ModuleTaskLoader({"task_notebook": task_notebook, "DOIT_CONFIG": configuration})
    return DoitMain(loader).run(["run", *(["-n", str(jobs)] if jobs > 1 else [])]) == 0


def _task(
    context: Context, notebook: Notebook, sources: Sequence[Notebook], *, force: bool
) -> dict[str, Any]:
    from doit.exceptions import TaskFailed

    def act() -> TaskFailed | None:
        try:
            execute(context, notebook, force=force)
        except (ValueError, RuntimeError, OSError) as error:
            return TaskFailed(str(error))
        return None

    def fresh(task: object, values: object) -> bool:
        return not force and _is_fresh(context, notebook)

    return {
        "basename": notebook.name,
        "actions": [act],
        "targets": [str(context.manifest_file(notebook))],
        "task_dep": [source.name for source in sources],
        "uptodate": [fresh],
        "io": {"capture": False},
    }


def _is_fresh(context: Context, notebook: Notebook) -> bool:
    return examine(context, notebook).state is State.FRESH


def _reporter() -> type:
    from doit.reporter import ConsoleReporter

    class Reporter(ConsoleReporter):
        """Says what is fresh and what failed; the notebooks speak for themselves."""

        def __init__(self, outstream: TextIO, options: dict[str, Any]) -> None:
            super().__init__(sys.stdout, options)

        def execute_task(self, task: Any) -> None:
            """The notebook's own output follows."""

        def skip_uptodate(self, task: Any) -> None:
            """A notebook that is fresh."""
            self.write(f"{task.name} is up to date\n")

        def add_failure(self, task: Any, fail: Any) -> None:
            """A notebook that failed, with its error and the end of its log."""
            self.failures.append({"task": task, "exception": fail})
            self.write(f"\n{task.name} failed\n{fail.get_msg()}\n")

        def complete_run(self) -> None:
            """Errors of doit itself."""
            for message in self.runtime_errors:
                self.write(f"{message}\n")

    return Reporter
