"""Curves for TensorBoard."""

import sys
from contextlib import closing
from dataclasses import replace

import pytest

from babelclip.errors import BabelclipError
from babelclip.training import StepReport, TensorBoardLog
from test_cli import invoke, learn_german


def test_curves_for_tensorboard(captions, tiny_folder, tmp_path, monkeypatch):
    command = learn_german(captions, tiny_folder, tmp_path / "out", "--tensorboard", tmp_path / "curves")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(BabelclipError, match=r"'tensorboard', which is not installed. .*babelclip\[tensorboard\]"):
            invoke(*command)
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    invoke(*command)
    curves = EventAccumulator(str(tmp_path / "curves" / "de"))
    curves.Reload()
    assert [point.step for point in curves.Scalars("loss/total")] == [1, 2, 3, 4, 5, 6]
    assert curves.Scalars("speed/texts_per_s")[0].value > 0


def test_curves_of_a_run_that_goes_on_drop_what_was_behind_its_checkpoint(tmp_path):
    """Steps 1 to 3, killed, and on from a checkpoint of step 1: the points 2 and 3 of before are not shown."""
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = StepReport(
        language="de", task=0, epoch=1, step=1, steps=4, terms={"a": 1.0}, gradient_norm=1.0, learning_rate=1e-3,
        temperature=0.07, texts=8, tokens=9, places=9, seconds=1.0,
    )  # fmt: skip
    for steps, texts in (((1, 2, 3), 8), ((2, 3, 4), 16)):
        with closing(TensorBoardLog(tmp_path)) as log:
            for step in steps:
                log(replace(report, step=step, texts=texts))
    curves = EventAccumulator(str(tmp_path / "de"))
    curves.Reload()
    assert [(point.step, point.value) for point in curves.Scalars("speed/texts_per_s")] == [
        (1, 8.0), (2, 16.0), (3, 16.0), (4, 16.0)
    ]  # fmt: skip
