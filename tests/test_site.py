"""The site: pages from outside docs/, links between them, and nothing that breaks in silence."""

import json
import re
import shutil
from pathlib import Path

import pytest

import babelclip

ROOT = Path(__file__).parent.parent

pytest.importorskip("mkdocs", reason="the site needs the extra [dev]")


@pytest.fixture
def build(tmp_path):
    """Build a small repository as a site, with the hook of the real one; returns a page's HTML."""
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    for file in ("CONTRIBUTING.md", "CHANGELOG.md", "dev/LOG.md", "src/babelclip/assets/pictoclip/README.md"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("# A page\n")
    for folder in ("docs", "configs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "configs" / "a.toml").write_text("epochs = 3\n")
    (tmp_path / "README.md").write_text("# Read me\n\n[search](docs/search.md#how)\n")
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[readme](../README.md)\n")
    hook = shutil.copy(ROOT / "dev" / "site_pages.py", tmp_path / "dev")

    def make(search):
        (tmp_path / "docs" / "search.md").write_text(search)
        settings = {
            "site_name": "small", "docs_dir": "docs", "site_dir": "site", "strict": True, "use_directory_urls": False,
            "plugins": [], "hooks": [str(hook)], "validation": {"links": {"not_found": "warn", "anchors": "warn"}},
        }  # fmt: skip
        (tmp_path / "mkdocs.yml").write_text(json.dumps(settings))
        build_site(load_config(str(tmp_path / "mkdocs.yml")))
        return lambda page: (tmp_path / "site" / page).read_text()

    return make


def test_links_between_files_become_links_between_pages(build):
    page = build("# Search\n\n## How\n\n[plan](../configs/a.toml)\n\n| a |\n|---|\n| `x \\| y` |\n")
    assert 'href="source/configs/a.toml.html"' in page("search.html")
    assert "epochs = 3" in page("source/configs/a.toml.html")
    assert 'href="search.html#how"' in page("readme.html")
    assert 'href="readme.html"' in page("index.html")
    assert "<code>x | y</code>" in page("search.html")


@pytest.mark.parametrize("search", ["# Search\n", "# Search\n\n## How\n\n[gone](../configs/b.toml)\n"])
def test_a_link_that_leads_nowhere_is_an_error(build, search):
    from mkdocs.exceptions import Abort

    with pytest.raises(Abort):
        build(search)


def test_the_names_of_babelclip_itself_are_the_first_parts_of_the_reference():
    text, _, _ = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("The kinds of errors")
    names = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
    assert names == set(babelclip.__all__) - {"__version__"}
    assert all(getattr(babelclip, name).__name__ == name for name in names)


def test_nothing_on_the_site_is_asked_of_others():
    configuration = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in configuration
    ours = [configuration, *(file.read_text() for file in (ROOT / "docs" / "assets").glob("*.[cj]s*"))]
    assert not [text for text in ours if re.search(r"https?://(?!www\.w3\.org)", text)]
