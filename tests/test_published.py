"""The published figures agree with each other, so a wrong digit would show."""

import json
from importlib.resources import files
from statistics import fmean

import pytest
from pydantic import ValidationError

from babelclip.languages import LANGUAGES
from babelclip.report.published import Published, Scores, Summary, beside, find, read_published

CUTS = [f"{way}_r{k}" for way in ("img", "txt") for k in (1, 5, 10)]
HALF = 0.05 + 1e-9  # half of the last digit


def whole_file():
    return json.loads(files("babelclip.report").joinpath("published.json").read_text(encoding="utf-8"))


def named(rows):
    return [pytest.param(row, id=f"{row.table}-{row.dataset}-{row.label}-{row.metric}") for row in rows]


OWN = [row.table for row in read_published().rows].index("own-language")
STREAMS = find(table="main") + find(table="ablation")


def test_reads_back_what_is_in_the_file():
    published = read_published()
    assert published.model_dump(mode="json", exclude_unset=True) == whole_file()
    assert {source.arxiv for source in published.sources} == {"2401.17186", "2206.11091"}


def test_no_table_lost_a_row():
    counts = {}
    for row in read_published().rows:
        counts[row.table] = counts.get(row.table, 0) + 1
    assert counts == {
        "main": 18 * 3 * 2, "headline": 1, "reference": 3 * 7 * 2, "ablation": 10 * 3 * 2, "curve": 6 * 2,
        "own-language": 6 * 2, "transfer-multi30k": 6 * 3, "translate-test": 2 * 2 + 2,
        "mla-zero-shot": 7 * 3 + 1, "mla-ft-en": 7, "mla-main": 37,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(colour="red"), "colour"),
        (lambda data: data["rows"][0].update(colour="red"), "colour"),
        (lambda data: data["rows"][0]["values"].update(AA2=1.0), "AA2"),
        (lambda data: data["rows"][0].update(source="nature"), "'nature'"),
        (lambda data: data["rows"][0].update(metric="img_r2"), "metric"),
        (lambda data: data["rows"][0]["values"].update(AA=101.0), "AA"),
        (lambda data: data["rows"].append(data["rows"][0]), "two rows"),
        (lambda data: data["rows"][OWN]["values"]["scores"].update(xx=1.0), "xx"),
        (lambda data: data.update(format=2), "format"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_refused(change, message):
    data = whole_file()
    change(data)
    with pytest.raises(ValidationError, match=message):
        Published.model_validate_json(json.dumps(data))


def test_rows_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        read_published().rows[0].metric = "ar"


# --- finding ---


def test_the_headline_is_the_difference_of_two_rows():
    found = beside("crossmodal3600", "img_r1", ["cll", "cll+teir"])
    (headline,) = find(table="headline")
    assert found["cll+teir"]["AA"] - found["cll"]["AA"] == pytest.approx(headline.values.score) == 6.7
    assert found["cll"] == {"AA": 17.6, "F": 18.4, "Fen": 13.6, "own": 35.4}


def test_beside_keeps_the_given_name_and_leaves_out_what_it_does_not_know():
    names = ["teir+er+cll", "cll+sleep", "cll+joint"]
    assert beside("mscoco36", "r_mean", names) == {"teir+er+cll": {"AA": 49.6, "F": 11.8, "Fen": 2.0, "own": 61.0}}
    same = beside("mscoco36", "r_mean", ["cll+er(memory=500)+teir", "cll+er(weight=2)+teir", "cll+teir(scale=grad)"])
    assert list(same) == ["cll+er(memory=500)+teir"], "with a memory of another size, but with no other change"
    assert beside("openmoji", "r_mean", ["cll"]) == {}
    assert beside("mscoco36", "img_r10", ["cll"]) == {}


def test_every_method_of_the_main_table_stands_beside():
    methods = {row.method for row in find(table="main")}
    parts = ("oewc", "er", "der", "mla", "ptuning", "lora", "dualprompt", "coda")
    plain = {"cll", *(f"cll+{part}" for part in parts)}
    assert methods == plain | {f"{name}+teir" for name in plain}
    for dataset in ("mscoco36", "crossmodal3600"):
        for metric in ("img_r1", "txt_r1", "r_mean"):
            assert set(beside(dataset, metric, sorted(methods))) == methods


def test_what_nobody_checked_is_left_out_unless_asked_for():
    assert {row.evidence for row in find()} == {"log", "arithmetic"}
    everything = find(include_remembered=True)
    assert len(everything) == len(read_published().rows)
    remembered = [row for row in everything if row.evidence == "remembered"]
    assert {row.table for row in remembered} == {"mla-main"}
    assert len(find(table="mla-main")) == len(find(table="mla-main", include_remembered=True)) - len(remembered) == 3


def test_the_hole_of_the_source_is_told_where_it_matters():
    holed = [row for row in STREAMS if row.dataset == "mscoco36"]
    assert len(holed) == 84
    assert all("English after task 1 is missing" in row.note for row in holed)
    assert not any("missing" in (row.note or "") for row in find(dataset="crossmodal3600"))


# --- the figures against each other ---


@pytest.mark.parametrize("row", named(find(table="own-language")))
def test_languages_average_to_what_the_other_tables_say(row):
    assert set(row.values.scores) == set(LANGUAGES)
    known = {language: score for language, score in row.values.scores.items() if score is not None}
    if row.variant is None:
        assert set(LANGUAGES) - set(known) == ({"en"} if row.dataset == "mscoco36" else set())
        published = beside(row.dataset, "r_mean", [row.method])[row.method]["own"]
    else:
        assert len(known) == 36
        references = find(table="reference", dataset=row.dataset, metric="r_mean")
        (published,) = [other.values.score for other in references if other.label.startswith(row.label)]
    assert fmean(known.values()) == pytest.approx(published, abs=HALF + 0.01)


@pytest.mark.parametrize("row", named(find(table="curve")))
def test_curves_end_at_the_final_score_and_start_at_english(row):
    assert list(row.values.scores) == ["1", "2", "3", "6", "9", "12", "18", "24", "30", "36"]
    (end,) = [
        other.values.AA
        for other in find(dataset=row.dataset, metric=row.metric, method=row.method)
        if other.table == ("ablation" if row.variant else "main") and other.variant == row.variant
    ]
    assert row.values.scores["36"] == end
    for own in find(table="own-language", dataset=row.dataset, metric=row.metric, method=row.method):
        if row.variant is None:
            assert row.values.scores["1"] == own.values.scores["en"]


@pytest.mark.parametrize(("label", "method"), [("(1) none", "cll"), ("(6) full TEIR", "cll+teir")])
def test_ablation_rows_repeat_the_main_table(label, method):
    rows = [row for row in find(table="ablation", method=method) if row.label == label]
    assert len(rows) == 6
    for row in rows:
        assert row.variant is None
        assert row.values.model_dump() == beside(row.dataset, row.metric, [method])[method]


@pytest.mark.parametrize("row", named(row for row in STREAMS if row.dataset == "crossmodal3600"))
def test_forgetting_fits_the_fall_from_own_to_end(row):
    """35 F = sum of (best - end) >= sum of (own - end) = 36 (own - AA); best is seldom much above own."""
    rounding = 36 * 2 * HALF + 35 * HALF
    slack = 35 * row.values.F - 36 * (row.values.own - row.values.AA)
    assert -rounding <= slack <= 10


ENGLISH = {"img_r1": (30, 40), "txt_r1": (52, 63), "r_mean": (61, 71)}


@pytest.mark.parametrize("row", named(row for row in STREAMS if row.dataset == "mscoco36"))
def test_forgetting_leaves_a_sensible_score_for_english(row):
    """With the hole, own leaves English out: 35 F + 36 AA - 35 own is about the best score of English."""
    low, high = ENGLISH[row.metric]
    assert low < 35 * row.values.F + 36 * row.values.AA - 35 * row.values.own < high


@pytest.mark.parametrize("dataset", ["mscoco36", "crossmodal3600"])
def test_r_mean_of_the_references_is_the_mean_of_the_recalls(dataset):
    rows = find(table="reference", dataset=dataset)
    labels = {row.label for row in rows}
    assert len(labels) == 3
    for label in labels:
        scores = {row.metric: row.values.score for row in rows if row.label == label}
        assert fmean(scores[metric] for metric in CUTS) == pytest.approx(scores["r_mean"], abs=2 * HALF)
        assert scores["img_r1"] < scores["img_r5"] < scores["img_r10"]
        assert scores["txt_r1"] < scores["txt_r5"] < scores["txt_r10"]


@pytest.mark.parametrize("row", named(find(table="transfer-multi30k")))
def test_transfer_averages(row):
    assert list(row.values.scores) == ["en", "de", "fr", "cs"]
    assert fmean(row.values.scores.values()) == pytest.approx(row.values.mean, abs=2 * HALF)


def test_translations_help_most_when_fused():
    for row in find(table="translate-test", method="cll+teir"):
        weights = [float(weight) for weight in row.values.scores]
        scores = list(row.values.scores.values())
        assert weights == [i / 10 for i in range(11)]
        best = scores.index(max(scores))
        assert 0 < best < 10
        assert scores[: best + 1] == sorted(scores[: best + 1])
        assert scores[best:] == sorted(scores[best:], reverse=True)


@pytest.mark.parametrize("table", ["mla-zero-shot", "mla-ft-en"])
def test_average_recall_of_mla_is_the_mean_of_six(table):
    rows = [row for row in find(table=table) if row.values.by == "language"]
    for ar in (row for row in rows if row.metric == "ar"):
        six = [row.values.scores for row in rows if row.dataset == ar.dataset and row.metric != "ar"]
        assert len(six) == 6
        for language, score in ar.values.scores.items():
            assert fmean(scores[language] for scores in six) == pytest.approx(score, abs=2 * HALF)


def test_folds_average_to_their_row():
    folds, whole = (
        row.values.scores
        for by in ("fold", "language")
        for row in find(table="mla-zero-shot", dataset="mscoco1k", metric="ar")
        if row.values.by == by
    )
    assert len(folds) == 5
    assert fmean(folds.values()) == pytest.approx(whole["ja"], abs=2 * HALF)


def test_confirmed_cells_of_the_mla_table_agree_with_the_logs():
    logs = {"zero-shot": "mla-zero-shot", "fine-tuned-en": "mla-ft-en"}
    for row in find(table="mla-main"):
        (log,) = [
            other.values.scores
            for other in find(table=logs[row.variant], dataset=row.dataset, metric="ar")
            if other.values.by == "language"
        ]
        for language, score in row.values.scores.items():
            assert score == pytest.approx(log[language], abs=0.1 + 1e-9)


def test_every_row_has_one_kind_of_values():
    kinds = {table: {type(row.values) for row in find(table=table)} for table in ("main", "ablation", "own-language")}
    assert kinds == {"main": {Summary}, "ablation": {Summary}, "own-language": {Scores}}
