"""What the command line prints fits into a terminal of 80 columns."""

import io
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from babelclip.cli.console import counted, progress_bars
from babelclip.cli.main import app
from babelclip.evaluation import read_results
from babelclip.report.sheets import cost_sheet
from babelclip.report.terminal import show
from babelclip.training import StepReport


def said(*arguments) -> str:
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}).stdout


@pytest.mark.parametrize("group", [(), ("data",), ("bench",), ("pack",), ("report",)])
def test_every_command_is_described_whole(group):
    commands = said(*group).partition("Commands:\n")[2]
    assert commands
    assert "..." not in commands
    assert all(re.match(r"  [a-z]+ +[A-Z].*\.$", line) for line in commands.splitlines()), commands


@pytest.mark.parametrize("command", [("index",), ("search",), ("pack", "install"), ("pack", "merge")])
def test_usage_says_once_what_may_be_repeated(command):
    assert re.fullmatch(r"Usage: .* \[OPTIONS\] [{\[][A-Z]+[}\]]\.\.\.", said(*command).splitlines()[0])


def test_progress_is_not_cut(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr("babelclip.cli.console.errors", Console(width=80, file=written, soft_wrap=True))
    step = StepReport(
        language="mul", task=0, epoch=3, step=246, steps=246, terms={"cross-lingual": 0.0123, "cross-modal": 0.0123},
        gradient_norm=0.1, learning_rate=1e-3, temperature=0.07, texts=128, tokens=7583, places=9000, seconds=0.01,
    )  # fmt: skip
    with progress_bars() as bars:
        bars.bar("looking at test pictures")(3700, 3700)
        bars.steps("cll+er(memory=500)+teir, seed 0: learning")(step)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for piece in (
        "3700/3700", "cll+er(memory=500)+teir, seed 0:", "several languages ", "246/246",
        "loss 0.0246 = cross-lingual 0.0123 + cross-modal 0.0123", "12,800 texts/s, 758,300 tokens/s, 16% padding",
    ):  # fmt: skip
        assert piece in written.getvalue()
    assert len(re.findall(r"\d:\d\d:\d\d left \d:\d\d:\d\d", written.getvalue())) == 2


@pytest.mark.parametrize("name", ["demo", "table-methods"])
def test_the_table_of_costs_is_whole(name, request):
    sheet = cost_sheet(read_results(request.config.rootpath / "bench" / "results" / f"{name}.json").runs)
    written = io.StringIO()
    Console(width=80, file=written).print(show(sheet))
    lines = written.getvalue().splitlines()
    assert "…" not in written.getvalue()
    heads = [line.split() for line in lines if line.split()[-1:] in (["kept"], ["MB"])]
    assert [len(words) for words in heads] == [9, 10]
    assert lines[-2].split()[1:] == [*sheet.rows[-1][1:]]


def test_things_are_counted():
    assert (counted(1, "step"), counted(0, "step"), counted(1000, "step")) == ("1 step", "0 steps", "1,000 steps")
