"""What a benchmark run refuses, counts and keeps before anything is trained."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from babelclip.benchmarks import side_by_side
from babelclip.benchmarks.plan import make_plan
from babelclip.benchmarks.prepare import Where
from babelclip.benchmarks.run import run_bench
from babelclip.errors import BabelclipError, SettingError


def test_the_threads_of_the_first_call_stay(content, where, tmp_path, monkeypatch):
    """Sums in float32 depend on them: on 4 cores two streams side by side have 2 each, and one alone then too."""
    told: list[int] = []
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("torch.set_num_threads", told.append)
    monkeypatch.setattr(
        "babelclip.benchmarks.run.run_side_by_side", lambda *_, threads, **__: told.append(10 * threads)
    )
    cache = Where(where.root, device="cpu", cache=tmp_path / "cache")
    out = tmp_path / "out"
    run_bench(make_plan({**content, "methods": ["cll"]}), cache, out, jobs=2)
    assert json.loads((out / "bench.json").read_text())["threads"] == 2
    assert told == [2, 20]
    run_bench(make_plan({**content, "methods": ["cll"]}), cache, out)
    assert told[:3] == [2, 20, 2]


def test_a_worker_process_has_the_threads_that_it_is_told(content, where, tmp_path, monkeypatch):
    told: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", told.append)
    monkeypatch.setattr("babelclip.benchmarks.side_by_side.keep_freed_memory", lambda: None)
    side_by_side._begin(make_plan(content), where, tmp_path, 3, os.getppid())
    assert told == [3]


def test_without_a_cache_streams_do_not_run_side_by_side(content, where, tmp_path):
    with pytest.raises(SettingError, match="2 processes have no cache to share. Leave --cache off away, or --jobs"):
        run_bench(make_plan(content), where, tmp_path, jobs=2)


def test_a_process_that_the_system_ends_is_an_error_with_a_way_out(content, where, tmp_path, monkeypatch):
    class Pool(ThreadPoolExecutor):
        def __init__(self, count, **_):
            super().__init__(count)

    def ended(_):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(side_by_side, "_work", ended)
    cache = Where(where.root, device="cpu", cache=tmp_path / "cache")
    with pytest.raises(BabelclipError, match=r"ended from outside, .* The same command goes on; give it fewer --jobs"):
        run_bench(make_plan({**content, "methods": ["cll"]}), cache, tmp_path / "out", jobs=2)


def test_one_order_under_two_names_is_refused_before_anything_is_trained(content, where, tmp_path):
    plan = {**content, "methods": ["cll"], "languages": ["de", "ru"]}
    same = [["de", "ru"], "as-given"]
    with pytest.raises(SettingError, match=r"the orders 'order-\w+' and 'as-given' are the same here: de, ru"):
        run_bench(make_plan({**plan, "orders": same}), where, tmp_path)
    run_bench(make_plan(plan), where, tmp_path)
    with pytest.raises(SettingError, match=r"cll-as-given-seed0 holds this stream already: the order 'order-\w+' is"):
        run_bench(make_plan({**plan, "orders": same[:1]}), where, tmp_path)
    assert len(run_bench(make_plan(plan), where, tmp_path).runs) == 1, "the folder is as it was"


def test_pictures_of_a_test_that_were_seen_in_training_are_counted(content, where, tmp_path):
    """Whatever they are called, and in whatever language: here all of them."""
    found = run_bench(make_plan({**content, "methods": ["cll"]}), where, tmp_path)
    assert found.data.counts["folder test pictures also in training"] == 24
