"""A page for people who speak a language: how well a pack knows it, where it fails, and how they can help."""

from babelclip.report.language.page import Source, make_page, write_language_page

__all__ = ["Source", "make_page", "write_language_page"]
