"""Pages of the site that lie outside docs/, as a hook of MkDocs: nothing is copied by hand, no link leads out.

1. The files of ``PAGES`` are pages: README.md, CHANGELOG.md and so on stay where they are.
2. Every other file that a page links to (a plan, a recipe, an example) becomes a page that shows it.
3. A link between files of the repository becomes the link between their pages, so that MkDocs can check it.
4. A pipe in code in a table needs a backslash on code hosts, and none here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "dev/LOG.md": "log.md",
    "src/babelclip/assets/pictoclip/README.md": "pictoclip.md",
}
"""Path in the repository -> page."""
SOURCE = "source"
"""Folder of the site with the files that pages link to."""
KINDS = {".py": "python", ".toml": "toml", ".json": "json"}
ROW, CODE = re.compile(r"^\|.*$", re.MULTILINE), re.compile(r"`[^`]+`")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for path, page in PAGES.items():
        files.append(_shown(config, page, (ROOT / path).read_text(encoding="utf-8")))
    wanted = {target for file in files.documentation_pages() for target in _targets(file)}
    for target in sorted(wanted):
        if (ROOT / target).suffix in KINDS and (ROOT / target).is_file():
            files.append(_shown(config, _page_of(target), _listing(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a page lead to pages, and its tables show pipes."""
    place = _place_of(page.file.src_uri)

    def turn(link: re.Match[str]) -> str:
        target = _resolve(place, link[1])
        if target is None:
            return link[0]
        return posixpath.relpath(_page_of(target), posixpath.dirname(page.file.src_uri) or ".") + (link[2] or "")

    return ROW.sub(lambda row: CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), LINK.sub(turn, markdown))


def _shown(config: MkDocsConfig, page: str, text: str) -> File:
    return File.generated(config, page, content=text)


def _targets(file: File) -> Iterator[str]:
    """Files of the repository that a page links to."""
    place = _place_of(file.src_uri)
    for link in LINK.finditer(file.content_string):
        target = _resolve(place, link[1])
        if target is not None:
            yield target


def _resolve(place: str, link: str) -> str | None:
    """The path in the repository of a link in the file at ``place``; None where there is no such file."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
    return target if not target.startswith("..") and (ROOT / target).is_file() else None


def _place_of(page: str) -> str:
    """The path in the repository of what a page is made from."""
    return {made: path for path, made in PAGES.items()}.get(page, f"docs/{page}")


def _page_of(target: str) -> str:
    """The page, or the picture, of a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return PAGES.get(target, f"{SOURCE}/{target}.md")


def _listing(target: str) -> str:
    text = (ROOT / target).read_text(encoding="utf-8")
    kind = KINDS[Path(target).suffix]
    head = f"---\nsearch: {{exclude: true}}\nhide: [navigation, toc]\n---\n\n# `{target}`"
    return f"{head}\n\n````{kind}\n{text.rstrip()}\n````\n"
