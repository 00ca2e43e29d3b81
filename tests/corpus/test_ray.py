"""The same work on Ray, with two actors on this machine."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from icm_jobs import Acting

from icm_core.corpus.engine import units_of, work_through
from icm_core.errors import IcmError, InputError, WeightsError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'icm-framework[ray]'")
ON_RAY = ("--engine", "ray", "--workers", 2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ModuleType]:
    """A Ray of two cores, for all tests of this file but one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        ray.init(
            num_cpus=2,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield ray
        ray.shutdown()


def test_ray_is_begun_with_a_core_each_and_ended_where_there_is_none(
    run, tree, toy, album, coded, tmp_path, monkeypatch
) -> None:
    ray.shutdown()
    begin, cores = ray.init, []

    def init(*args, **kwargs):
        found = begin(*args, **kwargs)
        cores.append(ray.cluster_resources()["CPU"])
        return found

    monkeypatch.setattr(ray, "init", init)
    code, rows, lines = run("encode", album, "-r", "-m", toy, "-o", tmp_path, "--engine", "ray", "--workers", 3)
    assert (code, lines, len(rows)) == (0, [], 12)
    assert tree(tmp_path) == tree(coded)
    assert cores == [3] and not ray.is_initialized()


@pytest.mark.usefixtures("cluster")
def test_answers_are_the_same_and_are_gone_on_with(run, tree, toy, coded, decoded, tmp_path) -> None:
    options = ("-r", "-m", toy, "-o", tmp_path, "--resume")
    assert len(run("decode", coded, *options, "--shard", "1/2", *ON_RAY)[1]) == 6
    code, rows, _ = run("decode", coded, *options, "--batch", 2, *ON_RAY)
    assert code == 0
    assert tree(tmp_path) == tree(decoded)
    assert sum(row.get("kept", False) for row in rows) == 6
    assert ray.is_initialized()


@pytest.mark.usefixtures("cluster")
def test_relative_names_mean_the_same_to_actors(run, tree, toy, album, coded, tmp_path, monkeypatch) -> None:
    shutil.copytree(album, tmp_path / "album")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album" / "p00.png").write_bytes(b"no picture")
    code, rows, lines = run("encode", "album", "-r", "-m", toy, "-o", "out", *ON_RAY)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("icm: album/p00.png is not a picture")
    assert [row["file"] for row in rows if "error" in row] == ["album/p00.png"]
    assert tree(tmp_path / "out") == {name: blob for name, blob in tree(coded).items() if name != "p00.icm"}


def worked(items: list[str], opening: str = "ok") -> list[str | IcmError]:
    units = units_of(items, 1, lambda _: None)
    with closing(
        work_through(Acting(opening), units, engine="ray", workers=2, device="cpu", items=len(items))
    ) as outcomes:
        found = {one.number: one.row if one.error is None else one.error for one in outcomes}
    return [found[number] for number in range(len(items))]  # type: ignore[misc]


@pytest.mark.usefixtures("cluster")
def test_actors_that_end_have_their_items_named_and_are_replaced() -> None:
    items = ["ok-0", "die-1", "bad-2", "ok-3", "ok-4", "ok-5"]
    found = worked(items)
    for item, one in zip(items[3:], found[3:], strict=True):
        assert one == f"{item} by 1 of 1"
    # What the actor had done just before may not have left its process when that ended; then it is named as well.
    assert found[0] == "ok-0 by 1 of 1" or str(found[0]).startswith("ok-0: the worker that had it ended by itself")
    assert str(found[1]).startswith("die-1: the worker that had it ended by itself, or with its machine")
    assert str(found[2]) == "bad-2 cannot be used"


@pytest.mark.usefixtures("cluster")
def test_what_no_actor_can_do_ends_everything() -> None:
    with pytest.raises(WeightsError, match="there are no weights"):
        worked(["ok-0", "ok-1"], opening="refuse")
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*ZeroDivisionError: of bug-1"):
        worked(["ok-0", "bug-1"])


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        InputError, match=r"--engine ray needs Ray; install it with: pip install 'icm-framework\[ray\]'"
    ):
        worked(["ok-0"])


def test_a_cluster_that_is_not_there_is_named(monkeypatch) -> None:
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(InputError, match=r"the cluster at nowhere \(RAY_ADDRESS\) cannot be used"):
        worked(["ok-0"])
