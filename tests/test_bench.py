"""Benchmark runs: from a plan to results, resumed, side by side, refused where results would be mixed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from babelclip.benchmarks.job import Listener
from babelclip.benchmarks.plan import make_plan, order_languages, read_plan
from babelclip.benchmarks.prepare import Where
from babelclip.benchmarks.run import run_bench
from babelclip.cli.main import app
from babelclip.config import PAPER
from babelclip.errors import BabelclipError, FormatError, SettingError, UnknownNameError
from babelclip.evaluation import METRICS, read_results
from babelclip.languages import LANGUAGES

QUICK = {"vocab_size": 400, "batch_size": 8, "epochs": 2, "learning_rate": 1e-3}
ORDER222 = [
    "en",
    "it",
    "de",
    "fil",
    "tr",
    "uk",
    "nl",
    "bn",
    "he",
    "fi",
    "sv",
    "quz",
    "fa",
    "mi",
    "fr",
    "el",
    "zh",
    "id",
    "sw",
    "no",
    "hi",
    "da",
    "te",
    "th",
    "pt",
    "ru",
    "ro",
    "pl",
    "hr",
    "es",
    "vi",
    "ar",
    "cs",
    "ko",
    "ja",
    "hu",
]


def without_cost(results):
    return results.model_dump(exclude={"runs": {"__all__": {"cost"}}})


def as_many_threads(known, folder):
    """Begin a run with the threads of another one, on which the last bits depend."""
    folder.mkdir()
    shutil.copy(known / "bench.json", folder)


def test_a_plan_runs_every_method_order_and_seed(content, where, tmp_path):
    told = []
    listener = Listener(finished=lambda job, runs, seconds: told.append((job.key, seconds > 0)))
    plan = make_plan({**content, "orders": ["as-given", ["ru", "de"]], "seeds": [0, 1]})
    results = run_bench(plan, where, tmp_path / "out", listener=listener)
    assert len(results.runs) == 8 == len(told)
    assert {(run.method, run.seed, tuple(run.order)) for run in results.runs} == {
        (method, seed, order)
        for method in ("cll", "cll+teir")
        for seed in (0, 1)
        for order in (("de", "ru"), ("ru", "de"))
    }
    run = results.runs[0]
    assert run.gallery == "folder test"
    assert set(run.scores) == set(METRICS)
    assert run.before["img_r1"][0] == run.initial["img_r1"][0]
    assert all(low <= run.scores["img_r10"][-1][j] <= high for j, (low, high) in enumerate(run.intervals["img_r10"]))
    assert read_results(tmp_path / "out" / "results.json") == results
    assert not list((tmp_path / "out").rglob("checkpoints"))
    assert results.base.name == "tiny", "no path of a machine in results"


def test_a_second_call_runs_only_what_is_new(content, where, tmp_path):
    told = []
    listener = Listener(finished=lambda job, runs, seconds: told.append((job.key, seconds > 0)))
    first = run_bench(make_plan({**content, "methods": ["cll"]}), where, tmp_path, listener=listener)
    both = run_bench(make_plan({**content, "methods": ["teir", "cll"]}), where, tmp_path, listener=listener)
    assert told == [
        ("cll-as-given-seed0", True), ("cll-as-given-seed0", False), ("cll+teir-as-given-seed0", True),
    ]  # fmt: skip
    assert first.runs[0] in both.runs


@pytest.mark.parametrize("methods", [["cll+teir"], ["packs", "packs-routed"]])
def test_incremental_evaluation_equals_the_full_one_bit_for_bit(methods, content, where, tmp_path):
    parts = {}
    for incremental in (True, False):
        plan = make_plan({**content, "methods": methods, "incremental": incremental})
        parts[incremental] = run_bench(plan, where, tmp_path / str(incremental))
    assert without_cost(parts[True]) == without_cost(parts[False])
    for less, full in zip(*(parts[each].runs for each in (True, False)), strict=True):
        assert less.cost.scored_texts == full.cost.scored_texts == full.cost.encoded_texts > less.cost.encoded_texts


@pytest.mark.parametrize("jobs", [1, 2])
def test_packs_that_are_learnt_alike_are_learnt_once_and_measured_twice(jobs, content, where, tmp_path):
    """Told and routed share one stream and have the results that each has in a stream of its own."""
    methods, told = ["packs", "packs-routed", "packs+mla"], []
    listener = Listener(finished=lambda job, runs, seconds: told.append((job.key, runs[0].method, seconds)))
    where = Where(where.root, device="cpu", cache=tmp_path / "cache")
    together = run_bench(make_plan({**content, "methods": methods}), where, tmp_path / "one", jobs=jobs,
                         listener=listener)  # fmt: skip
    as_many_threads(tmp_path / "one", tmp_path / "apart")
    for method in methods:
        run_bench(make_plan({**content, "methods": [method]}), where, tmp_path / "apart")
    apart = run_bench(make_plan({**content, "methods": methods}), where, tmp_path / "apart")
    assert [run.method for run in together.runs] == ["cll+packs", "cll+packs-routed", "cll+mla+packs"]
    assert without_cost(together) == without_cost(apart)
    seconds = {method: spent for _, method, spent in told}
    assert len(told) == 3
    assert seconds["cll+packs"] == seconds["cll+packs-routed"] != seconds["cll+mla+packs"]
    assert [run.cost.train_s for run in together.runs[:2]] == [together.runs[0].cost.train_s] * 2
    logs = sorted(file.parent.name for file in (tmp_path / "one").rglob("log.jsonl"))
    assert logs == ["cll+mla+packs-as-given-seed0", "cll+packs-as-given-seed0"]


def test_a_stream_of_packs_goes_on_for_whichever_of_its_methods_are_asked_for(content, where, tmp_path):
    """Interrupted within the second language as told packs, again there as routed ones, then both."""
    both = {**content, "methods": ["packs", "packs-routed"]}
    whole = run_bench(make_plan(both), where, tmp_path / "whole")

    def cut_off(report):
        if report.language == "ru" and report.step == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    for name in both["methods"]:
        with pytest.raises(KeyboardInterrupt):
            run_bench(make_plan({**both, "methods": [name]}), where, out, listener=Listener(steps=lambda _: cut_off))
    assert [folder.name for folder in (out / "runs").iterdir()] == ["cll+packs-as-given-seed0"]
    assert without_cost(run_bench(make_plan(both), where, out)) == without_cost(whole)
    assert not list(out.rglob("checkpoints"))


def test_streams_side_by_side_give_the_same_results(content, where, tmp_path):
    plan = make_plan(content)
    cache = Where(where.root, device="cpu", cache=tmp_path / "cache")
    together = run_bench(plan, cache, tmp_path / "two", jobs=2)
    as_many_threads(tmp_path / "two", tmp_path / "one")
    alone = run_bench(plan, cache, tmp_path / "one")
    assert without_cost(together) == without_cost(alone)


def test_a_failing_stream_ends_the_others_which_can_go_on(content, where, tmp_path):
    """One of two streams fails at once; the other, which would take minutes, ends with it."""
    cache = Where(where.root, device="cpu", cache=tmp_path / "cache")
    plan = make_plan({**content, "methods": ["cll"], "seeds": [0, 1], "settings": {**QUICK, "epochs": 20_000}})
    broken = tmp_path / "out" / "runs" / "cll-as-given-seed1" / "checkpoints" / "00000001"
    broken.mkdir(parents=True)
    started = time.monotonic()
    with pytest.raises(FormatError, match="all 1 checkpoints are damaged"):
        run_bench(plan, cache, tmp_path / "out", jobs=2)
    assert time.monotonic() - started < 100, "it waited for the other stream"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {**QUICK, "epochs": 1}}, r"beside these: settings\.epochs was 2, is 1\. "),
        ({"incremental": False}, "incremental was true, is false"),
        ({"test": [{"dataset": "folder", "captions": "first"}]}, "test was"),
        ({"languages": ["ru"]}, r'languages was \["de", "ru"\], is \["ru"\]'),
        ({"languages": ["ru", "de"]}, r'beside these: languages was \["de", "ru"\], is \["ru", "de"\]\. '),
    ],
)
def test_results_of_different_runs_are_not_mixed(content, where, tmp_path, change, message):
    run_bench(make_plan({**content, "methods": ["cll"]}), where, tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(SettingError, match=message):
        run_bench(make_plan(content | change), where, tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before


def test_other_code_and_other_data_are_refused(content, where, tmp_path, monkeypatch, folder):
    plan = make_plan({**content, "methods": ["cll"], "languages": ["de"]})
    run_bench(plan, where, tmp_path / "out")
    monkeypatch.setattr("babelclip.benchmarks.run.code_fingerprint", lambda: "f" * 64)
    with pytest.raises(SettingError, match="code was .*, is ffffffffffff"):
        run_bench(plan, where, tmp_path / "out")
    monkeypatch.undo()
    claim = tmp_path / "out" / "bench.json"
    then = claim.read_text()
    for name, other in (("torch", "1.0"), ("device", "cuda"), ("precision", "bfloat16")):
        claim.write_text(json.dumps(json.loads(then) | {name: other}))
        with pytest.raises(SettingError, match=f"beside these: {name} was {other}, is [^;]*$"):
            run_bench(plan, where, tmp_path / "out")
    claim.write_text(then)
    other = tmp_path / "data" / "folder"
    shutil.copytree(folder, other)
    file = other / "de.test.tsv"
    file.write_text(file.read_text(encoding="utf-8").replace("rot", "rosa"), encoding="utf-8")
    with pytest.raises(SettingError, match="data was"):
        run_bench(plan, Where(other.parent, device="cpu"), tmp_path / "out")


def test_a_damaged_result_is_named(content, where, tmp_path):
    plan = make_plan({**content, "methods": ["cll"], "languages": ["de"]})
    run_bench(plan, where, tmp_path)
    file = tmp_path / "runs" / "cll-as-given-seed0" / "run.json"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(FormatError, match=r"run\.json: damaged .* Delete it"):
        run_bench(plan, where, tmp_path)
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(FormatError, match=r"bench\.json: damaged"):
        run_bench(plan, where, tmp_path)


def often(arguments, folder):
    """The command line with a checkpoint every 0.2 s, in the processes that it starts too."""
    script = folder / "often.py"
    script.write_text(
        "import sys\nfrom functools import partialmethod\nfrom babelclip.training import checkpoint\n"
        "checkpoint.Checkpoints.__init__ = partialmethod(checkpoint.Checkpoints.__init__, every=0.2)\n"
        "if __name__ == '__main__':\n    from babelclip.cli.main import main\n    main()\n"
    )
    return [sys.executable, str(script), *arguments]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")
def test_killed_twice_it_ends_with_the_same_results(content, folder, tmp_path):
    """The shortened version of configs/pictograms36.toml: order222, two methods; SIGKILL within a task, twice."""

    def arguments(out, jobs):
        changes = [f"--set={name}={value}" for name, value in (QUICK | {"epochs": 40}).items()]
        return [
            "bench", "run", "--out", str(out), "--base", content["base"], "--train", "folder", "--test", "folder",
            "--data-root", str(folder.parent), "--orders", "order222", "--device", "cpu", "--jobs", str(jobs),
            "--cache", str(tmp_path / "cache"), *changes,
        ]  # fmt: skip

    command = often(arguments(tmp_path / "killed", 2), tmp_path)
    out = tmp_path / "killed"
    killed = 0
    for lines in (50, 250):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 400
        while process.poll() is None and time.monotonic() < deadline:
            if sum(file.read_bytes().count(b"\n") for file in out.glob("runs/*/log.jsonl")) >= lines:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.02)
        process.wait(100)
    assert killed == 2, "the run was over before it could be killed twice"
    assert list(out.glob("runs/*/checkpoints/*")), "it was within a task, and goes on from there"
    assert not (out / "results.json").exists()
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=400)
    assert "bench report" in done.stdout
    as_many_threads(out, tmp_path / "whole")
    said = CliRunner().invoke(app, arguments(tmp_path / "whole", 1), catch_exceptions=False)
    assert said.exit_code == 0
    whole, resumed = (read_results(place / "results.json") for place in (tmp_path / "whole", out))
    assert without_cost(whole) == without_cost(resumed)
    assert [run.order for run in whole.runs] == [["de", "ru"]] * 2


def test_the_papers_order():
    assert order_languages("order222", sorted(LANGUAGES)) == ORDER222
    assert order_languages("order222", ["xh", "zh", "en", "de"]) == ["en", "de", "zh", "xh"]
    assert order_languages("seed1", ["de", "en", "fr"])[0] == "en"
    assert order_languages(["fr", "de"], ["de", "fr"]) == ["fr", "de"]
    with pytest.raises(UnknownNameError, match="unknown order 'ordr222'.*Did you mean 'order222'"):
        order_languages("ordr222", ["de"])
    with pytest.raises(SettingError, match=r"missing \['fr'\], not among them \['it'\]"):
        order_languages(["de", "it"], ["de", "fr"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = ", "plan.toml: not TOML"),
        ('base = "x"\n[train]\ndataset = "folder"\n', "test: Field required"),
        ('base = "x"\nmethod = ["cll"]\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\n',
         "unknown key 'method'. Did you mean 'methods'"),
        ('base = "x"\n[train]\ndataset="folder"\nfold=3\n[[test]]\ndataset="folder"\n', "unknown key 'fold'. Did you"),
        ('base = "x"\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\n[settings]\nepoch = 3\n',
         "plan.toml: unknown setting 'epoch'. Did you mean 'epochs'"),
        ('base = "x"\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\n[settings]\nseed = 3\n', "Use seeds ="),
        ('base = "x"\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\ncaptions="some"\n', "'all' or 'first'"),
        ('base = "x"\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\n[[test]]\ndataset="folder"\n',
         "plan.toml: test has 'folder test' twice. Name each once"),
        ('base = "x"\n[train]\ndataset="folder"\nvalidation="test"\n[[test]]\ndataset="folder"\ncaptions="first"\n',
         "train.validation is 'test', which is tested on: 'folder test first captions'"),
        ('base = "x"\nlexicon_width = 5\n[train]\ndataset="folder"\n[[test]]\ndataset="folder"\n',
         "plan.toml: lexicon_width is 5, but lexicon is 'own'"),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_named(tmp_path, text, message):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises((SettingError, UnknownNameError), match=message):
        read_plan(tmp_path / "plan.toml")


def test_wrong_places_and_languages_are_named(content, where, tmp_path, folder):
    with pytest.raises(SettingError, match="a place is given for 'xtd10', which the plan does not use"):
        run_bench(make_plan(content), Where(folder.parent, {"xtd10": folder}), tmp_path)
    with pytest.raises(SettingError, match="folder has no 'sw'"):
        run_bench(make_plan({**content, "languages": ["sw"]}), where, tmp_path)
    with pytest.raises(BabelclipError, match="the data set 'folder' is not there.* --folder folder=DIR, or in"):
        run_bench(make_plan(content), Where(tmp_path / "nowhere"), tmp_path)
    with pytest.raises(SettingError, match="stands twice in the plan"):
        run_bench(make_plan({**content, "methods": ["teir", "cll+teir"]}), where, tmp_path)


@pytest.mark.parametrize("name", ["flickr8k", "pictograms36", "cll36-paper", "demo"])
def test_the_plans_that_come_along_can_be_read(name, request):
    plan = read_plan(request.config.rootpath / "configs" / f"{name}.toml")
    assert plan.task_settings().epochs == (1 if name == "flickr8k" else 3)
    if name == "cll36-paper":
        changed = {k: v for k, v in plan.task_settings().as_dict().items() if v != PAPER.as_dict()[k]}
        assert changed == {"bucket": 1}, "the papers' recipe is the default, apart from sorting batches by length"
