"""What docs/methods.md says of sizes and figures."""

from pathlib import Path

import pytest

from babelclip.methods import METHODS


@pytest.fixture(scope="module")
def page():
    return (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.fixture
def sizes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "dev"))
    import method_sizes

    return method_sizes


def test_methods_of_all_records_have_figures_and_the_published_ones_beside_them(page):
    tables = page.partition("## Figures")[2].partition("\n### ")[0]
    rows = [line.split(" | ") for line in tables.split("\n") if line.startswith("| `")]
    named = {part.partition("(")[0] for row in rows for part in row[0].strip("| `").split("+")}
    assert named <= set(METHODS)
    assert {"joint", "oracle", "full", "cross-lingual", "cross-modal", "nlt", "le", "counts", "packs"} <= named
    known = {row[0].strip("| `"): [cell.strip(" |") for cell in row[-2:]] for row in rows}
    assert known["cll+joint+oracle"] == ["62.6", "-"]
    assert known["cll+oracle"] == ["-", "52.3"]
    assert known["cll+full"] == ["-", "10.7"]
    assert known["cll+cross-modal"] == ["-", "45.6"]
    assert known["cll+cross-lingual"] == ["-", "45.0"]
    assert known["mla+nlt+le"][-1] == "75.7"


def test_what_is_trained_and_stored_is_counted(sizes):
    """10,000 rows of width 512 are 20.48 MB; a memory text is two vectors, a key, 50 letters, a tag and two lengths."""
    memory = 8000 * (2 * 512 * 4 + 8 + 50 + 8 + 2 + 8) / 1e6
    expected = {
        "cll": ("20.5", "20.5"), "joint": ("20.5 for each language", "20.5"), "oracle": ("20.5", "11.4"),
        "full": ("20.5 + 152.5 modules", "20.5; once 152.5 modules"), "mla": ("20.5 + 12.6 modules",) * 2,
        "er": ("20.5 + rows of the memory's texts", f"20.5; once {memory:.1f} memory"),
        "oewc": ("20.5 + rows of earlier languages", f"20.5 + {10_000 * (512 * 4 + 8) / 1e6:.1f} kept"),
        "si": ("20.5 + rows of earlier languages", f"20.5 + {10_000 * (512 * 4 + 8) / 1e6:.1f} kept"),
        "lwf": ("20.5 + rows of the English sides", "20.5"), "gpm": ("20.5", f"20.5 + {10_000 * 8 / 1e6:.1f} kept"),
        "counts": ("20.5", f"20.5 + {10_000 * 16 / 1e6:.1f} kept"), "packs": ("20.5", "10.2"),
    }  # fmt: skip
    for name, cells in expected.items():
        method = METHODS[name]()
        assert (sizes.trained(method), sizes.stored(method)) == cells, name
