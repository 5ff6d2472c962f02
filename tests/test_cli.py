import errno
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file
from typer.testing import CliRunner

import babelclip
from babelclip import __version__
from babelclip.cli.main import app, main
from babelclip.errors import BabelclipError, FormatError, SettingError
from babelclip.evaluation import read_results
from babelclip.files import alone
from babelclip.packs.container import read_files
from babelclip.training import Checkpoints
from forks import command_line, finish, start

RUNNER = CliRunner()


def invoke(*arguments) -> str:
    """Run in this process; errors that users see are raised."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def spawn(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "babelclip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_imports_nothing_heavy_and_is_fast():
    code = "import sys, babelclip.cli.main; print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    seconds: dict[str, list[float]] = {"--help": [], "nothing": []}
    for _ in range(5):
        for what, command in (("--help", ["-m", "babelclip", "--help"]), ("nothing", ["-c", "pass"])):
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            seconds[what].append(time.perf_counter() - started)
    # 0.4 s, or on a busy machine as many times the start of Python itself as that is on an idle one
    assert statistics.median(seconds["--help"]) < max(0.4, 15 * statistics.median(seconds["nothing"]))
    assert "demo" in spawn("--help").stdout


def test_the_version_is_printed():
    assert invoke("--version").strip() == f"babelclip {__version__}"


def test_public_names_are_there_and_lazy():
    code = (
        "import sys, babelclip; assert 'torch' not in sys.modules; [getattr(babelclip, n) for n in babelclip.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'laod'; it has Answer, BabelclipError"):
        _ = babelclip.laod


def test_learn_and_evaluate_on_own_data(captions, tiny_folder, tmp_path):
    out = tmp_path / "learnt"
    printed = invoke(
        "learn", "--shared", "--base", tiny_folder, "--language", "de", "--data", captions / "de.tsv", "--test",
        captions / "de.tsv", "--validation", captions / "de.tsv", "--out", out, "--epochs", 2, "--batch-size", 8,
        "--vocab-size", 400, "--device", "cpu",
    )  # fmt: skip
    for piece in ("24 texts", "new tokens", "6 steps", "img_r10", "chance", "note: 6 steps at a rate of 5e-05"):
        assert piece in printed
    second = tmp_path / "both"
    printed = invoke("learn", "--base", out, "--language", "ru", "--data", captions / "ru.tsv", "--out", second,
                     "--images", captions,
                     "--set", "epochs=1", "--batch-size", 20, "--vocab-size", 400, "--device", "cpu")  # fmt: skip
    assert "knows de" in printed
    assert f"--data TEST.tsv --images {captions}\n" in printed, "the next command works on the same folders"
    assert "4 texts an epoch fell into its last, incomplete batch" in printed
    scores = json.loads(
        invoke("evaluate", "--model", second, "--language", "de", "--data", captions / "de.tsv", "--json")
    )
    assert scores["chance"]["img_r1"] == pytest.approx(100 / 24)
    assert 0 <= scores["scores"]["r_mean"] <= 100
    said = RUNNER.invoke(app, ["evaluate", "--model", str(out), "--language", "ru", "--data", str(captions / "ru.tsv")])
    assert "has not learnt 'ru'; it knows en, de" in said.stderr


def learn_german(captions, tiny_folder, out, *more) -> list:
    return ["learn", "--shared", "--base", tiny_folder, "--language", "de", "--data", captions / "de.tsv", "--out", out,
            "--epochs", 2, "--batch-size", 8, "--vocab-size", 400, "--device", "cpu", "--learning-rate", 1e-3,
            *more]  # fmt: skip


def test_an_interrupted_learn_goes_on_with_the_same_command(captions, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("babelclip.cli.learn.Checkpoints", partial(Checkpoints, every=0))
    invoke(*learn_german(captions, tiny_folder, tmp_path / "whole"))
    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.trainer.TaskTrainer.rate", fail_at_step_4)
        with pytest.raises(RuntimeError, match="power cut"):
            invoke(*learn_german(captions, tiny_folder, cut))
    assert sorted(entry.name for entry in cut.iterdir()) == ["checkpoints", "log.jsonl"]
    with pytest.raises(
        BabelclipError, match=r"learning_rate was 0.001, is 0.5. Start it again as it was, choose anoth"
    ):
        invoke(*learn_german(captions, tiny_folder, cut, "--learning-rate", 0.5))
    printed = invoke(*learn_german(captions, tiny_folder, cut))
    assert f"Going on from the checkpoints in {cut / 'checkpoints'}" in printed
    written = ["lexicon.json", "log.jsonl", "remembered.safetensors", "rows.safetensors"]
    assert sorted(entry.name for entry in cut.iterdir()) == written
    for name in written[2:]:
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (cut / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def fail_at_step_4(trainer, step):
    if step == 4:
        raise RuntimeError("power cut")
    return trainer.settings.learning_rate


def test_two_processes_learn_together_and_one_of_them_speaks(captions, tiny_folder, tmp_path):
    """A pack, as the command in docs/training.md, and a lexicon that languages share; side by side."""
    environment, running = {**os.environ, "OMP_NUM_THREADS": "1"}, {}
    shared = learn_german(captions, tiny_folder, tmp_path / "two", "--cache", tmp_path / "cache")
    commands = {"two": shared, "two.babelpack": [one for one in shared if one != "--shared"] + ["--rows", "float32"]}
    for name, command in commands.items():
        command[command.index("--out") + 1] = tmp_path / name
        program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
                   "babelclip", *map(str, command)]  # fmt: skip
        running[name] = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
    for name, process in running.items():
        out, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert out.count(f"Written to {tmp_path / name}") == out.count("6 steps in") == 1
        command = commands[name]
        command[command.index("--out") + 1] = tmp_path / name.replace("two", "one")
        invoke(*command)
    two, one = (load_file(tmp_path / name / "rows.safetensors") for name in ("two", "one"))
    packed, alone_packed = (read_files(tmp_path / f"{name}.babelpack") for name in ("two", "one"))
    for many, single in ((two, one), (load(packed["rows.safetensors"]), load(alone_packed["rows.safetensors"]))):
        assert torch.equal(many["ids"], single["ids"])
        torch.testing.assert_close(many["rows"], single["rows"], rtol=0, atol=1e-5)
    for log in ("two/log.jsonl", "two.log.jsonl"):
        assert len((tmp_path / log).read_text().splitlines()) == 6


@pytest.mark.parametrize("content", [b"\xff\xfen\0a\0\n\0", b"name,value\n1,2\n", b'{"task": [], "step": 1}\n'])
def test_a_foreign_log_is_refused_before_any_picture_is_looked_at(
    content, captions, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("babelclip.data.Teacher.prepare", lambda *_: pytest.fail("looked at"))
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(FormatError, match=r"log.jsonl:1: not a line of a training log. Move the file away"):
        invoke(*learn_german(captions, tiny_folder, tmp_path))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [content]


@pytest.mark.parametrize("command", ["learn", "demo", "bench"])
def test_a_precision_that_the_device_lacks_is_told_of_first(
    command, captions, tiny_folder, folder, tmp_path, monkeypatch
):
    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr("torch.amp.is_autocast_available", lambda _: False)
    for work in ("data.Teacher.prepare", "benchmarks.openmoji.write_folder", "benchmarks.run.run_stream_of"):
        if command != "bench" or "prepare" not in work:
            monkeypatch.setattr(f"babelclip.{work}", stop)
    arguments = {
        "learn": learn_german(captions, tiny_folder, tmp_path / "out"),
        "demo": ["demo", "--out", tmp_path],
        "bench": ["bench", "run", "--out", tmp_path, "--base", tiny_folder, "--train", "folder", "--test", "folder",
                  "--data-root", folder.parent, "--device", "cpu", "--cache", tmp_path / "cache"],
    }[command]  # fmt: skip
    for precision, told in (("bfloat16", 1), ("float32", 0)):
        monkeypatch.setattr("babelclip.benchmarks.run.BENCH", f"{precision}.json")
        done = RUNNER.invoke(app, [*map(str, arguments), "--set", f"precision={precision}"])
        assert isinstance(done.exception, InterruptedError), done.output
        assert done.stderr.count("note: this device has no bfloat16; float32 is used") == told


def test_nothing_is_overwritten(captions, tmp_path):
    (tmp_path / "x").write_text("precious")
    with pytest.raises(BabelclipError, match="exists and is not empty"):
        invoke("learn", "--shared", "--language", "de", "--data", captions / "de.tsv", "--out", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--language", "German", "--data", "{dir}/de.tsv"),
            "error: 'German' is not a language tag. Did you mean 'de'?",
        ),
        (("--language", "fr", "--data", "{dir}/de.tsv"), "de.tsv:1: unknown column 'fr'"),
        (("--language", "de", "--data", "{dir}/none.tsv"), "none.tsv: there is no such file"),
        (
            ("--language", "de", "--data", "{dir}/empty.tsv"),
            "empty.tsv: no captions in 'de'. The file has a header but no rows",
        ),
        (("--language", "de", "--data", "{dir}/missing.tsv"), "missing.tsv:2: there is no picture 'gone.png'"),
        (("--language", "de", "--data", "{dir}/blank.tsv"), "blank.tsv:2: the column 'de' is empty"),
        (("--language", "de", "--data", "{dir}/cut.tsv"), "cut.png: the picture is damaged"),
    ],
)
def test_mistakes_end_with_one_clear_line_and_exit_code_1(arguments, message, captions, tmp_path):
    captions = shutil.copytree(captions, tmp_path / "captions")
    for name, row in {
        "empty": "",
        "missing": "gone.png\tx\ty\n",
        "blank": "0-0.png\tx\t\n",
        "cut": "cut.png\tx\ty\n",
    }.items():
        (captions / f"{name}.tsv").write_text(f"image\ten\tde\n{row}")
    Image.effect_noise((64, 64), 50).save(captions / "cut.png")
    (captions / "cut.png").write_bytes((captions / "cut.png").read_bytes()[:-500])
    filled = [argument.format(dir=captions) for argument in arguments]
    arguments = ("learn", *filled, "--out", tmp_path / "out", "--device", "cpu")
    code, _, errors = finish(start(command_line, *arguments, said=tmp_path), tmp_path)
    assert code == 1
    assert message in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists(), "nothing half-written stays"


@pytest.mark.parametrize(("number", "told"), [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file")])
def test_what_the_system_refuses_ends_with_one_clear_line(number, told, tmp_path, monkeypatch, capsys):
    base = {"name": "pictoclip", "fingerprint": "0" * 64}
    (tmp_path / "polyglot.json").write_text(json.dumps({"format": 1, "base": base}))
    pack = tmp_path / "de.babelpack"
    pack.touch()

    def refuse(path, **_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    monkeypatch.setattr(sys, "argv", ["babelclip", "pack", "remove", str(tmp_path), "de"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {pack}: {told}")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("learn", "--language", "de", "--data", "de.tsv", "--out", "my"), True),
        (("learn", "--language", "de", "--data", "de.tsv", "--out", "my", "--plan"), False),
        (("index", "photos"), True),
        (("bench", "run", "--out", "out"), True),
        (("data", "list"), False),
    ],
)
def test_after_ctrl_c_it_is_said_what_goes_on(command, told, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for work in ("learn.run_learn", "plan.run_plan", "index.run_index", "bench.run_run", "data.run_list"):
        monkeypatch.setattr(f"babelclip.cli.{work}", interrupt)
    monkeypatch.setattr(sys, "argv", ["babelclip", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert ("interrupted; the same command goes on" in capsys.readouterr().err) is told


def test_what_a_library_calls_an_error_of_the_system_is_none(monkeypatch):
    def fail(*_):
        raise OSError("no tokenizer in it")

    monkeypatch.setattr("babelclip.cli.pack.run_remove", fail)
    monkeypatch.setattr(sys, "argv", ["babelclip", "pack", "remove", "my", "de"])
    with pytest.raises(OSError, match="no tokenizer"):
        main()


def test_the_demo_measures_reports_and_repeats_itself(openmoji_folder, tmp_path, monkeypatch):
    """A short stream through the whole road, twice: equal results, a page that needs nothing else."""
    monkeypatch.setenv("BABELCLIP_CACHE", str(tmp_path / "cache"))  # pictures are encoded the first time only
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").symlink_to(openmoji_folder)
        printed = invoke(
            "demo", "--out", tmp_path / name, "--languages", "en,ko", "--methods", "teir", "--device", "cpu"
        )
    for piece in ("English before any learning", "ko Korean", "cll+teir", "chance", "index.html", " evaluate --model"):
        assert piece in printed
    one, two = (read_results(tmp_path / name / "results.json") for name in ("one", "two"))
    without_cost = {"runs": {"__all__": {"cost"}}}
    assert one.model_dump_json(exclude=without_cost) == two.model_dump_json(exclude=without_cost)
    run = one.runs[0]
    english, korean = run.scores["img_r10"][0][0], run.scores["img_r10"][1][1]
    assert korean >= english / 2
    assert run.chance["img_r10"] == pytest.approx(1.25)
    page = (tmp_path / "one" / "index.html").read_text(encoding="utf-8")
    assert page.count('class="query"') == 10
    assert "✓" in page
    assert "<svg" in page
    assert not any(
        outside in page for outside in ('src="http', 'href="http', "<script", "@import", 'url("http', "url(http")
    )
    other = (tmp_path / "two" / "index.html").read_text(encoding="utf-8")
    plain = [
        re.sub(r"Cost of one stream.*?</table>", "", text.replace(str(tmp_path / name), "OUT"), flags=re.DOTALL)
        for name, text in (("one", page), ("two", other))
    ]
    assert plain[0] == plain[1]
    printed = invoke("evaluate", "--model", tmp_path / "one" / "model", "--language", "ko", "--data",
                     openmoji_folder / "ko.test.tsv", "--device", "cpu")  # fmt: skip
    assert f"{run.scores['img_r10'][1][1]:.1f}" in printed


@pytest.mark.parametrize(("command", "lock"), [("demo", "out/.lock"), ("tune", ".out.lock")])
def test_two_processes_do_not_share_a_folder(command, lock, captions, tiny_folder, tmp_path):
    data = ("--base", tiny_folder, "--data", captions / "de.tsv") if command == "tune" else ()
    (tmp_path / "out").mkdir()
    with alone(tmp_path, tmp_path / lock, wait=0), pytest.raises(SettingError, match="another process works on"):
        invoke(command, "--out", tmp_path / "out", "--device", "cpu", *data)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "cll,tier"), "Did you mean 'teir'"),
        (("--languages", "en,sw"), "unknown OpenMoji language 'sw'"),
        (("--languages", "de,fr"), "the order begins with 'de', but .* Begin with en: --languages en,de,fr"),
        (("--set", "epoch=3"), "Did you mean 'epochs'"),
        (("--set", "seed=3"), "--set seed=3 has no meaning here. Use --seeds"),
    ],
)
def test_a_mistake_in_the_demo_fails_before_any_work(arguments, message, tmp_path):
    with pytest.raises(BabelclipError, match=message):
        invoke("demo", *arguments, "--out", tmp_path)
    assert not any(tmp_path.iterdir())
