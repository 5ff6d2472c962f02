"""Language tags: checked, normalised, named. Facts about a language live here and nowhere else.

Tags are BCP-47 (``de``, ``pt-BR``, ``zh-Hant``) plus ISO 639-3 codes where the papers use them (``quz``, ``fil``).
"""

from __future__ import annotations

import difflib
import re

from babelclip.errors import DataError

# The 36 languages of Crossmodal-3600 and a few neighbours: tag -> (English name, script by ISO 15924).
LANGUAGES = {
    "ar": ("Arabic", "Arab"), "bn": ("Bengali", "Beng"), "cs": ("Czech", "Latn"), "da": ("Danish", "Latn"),
    "de": ("German", "Latn"), "el": ("Greek", "Grek"), "en": ("English", "Latn"), "es": ("Spanish", "Latn"),
    "fa": ("Persian", "Arab"), "fi": ("Finnish", "Latn"), "fil": ("Filipino", "Latn"), "fr": ("French", "Latn"),
    "he": ("Hebrew", "Hebr"), "hi": ("Hindi", "Deva"), "hr": ("Croatian", "Latn"), "hu": ("Hungarian", "Latn"),
    "id": ("Indonesian", "Latn"), "it": ("Italian", "Latn"), "ja": ("Japanese", "Jpan"), "ko": ("Korean", "Kore"),
    "mi": ("Maori", "Latn"), "nl": ("Dutch", "Latn"), "no": ("Norwegian", "Latn"), "pl": ("Polish", "Latn"),
    "pt": ("Portuguese", "Latn"), "quz": ("Cusco Quechua", "Latn"), "ro": ("Romanian", "Latn"),
    "ru": ("Russian", "Cyrl"), "sv": ("Swedish", "Latn"), "sw": ("Swahili", "Latn"), "te": ("Telugu", "Telu"),
    "th": ("Thai", "Thai"), "tr": ("Turkish", "Latn"), "uk": ("Ukrainian", "Cyrl"), "vi": ("Vietnamese", "Latn"),
    "zh": ("Chinese", "Hans"),
}  # fmt: skip

MORE_LANGUAGES = {"mul": ("several languages", ""), "qu": ("Quechua", "Latn")}
"""Others that we know by name. ``LANGUAGES`` must not grow: the papers' order shuffles it."""

OWN_NAMES = {
    "ar": "العربية", "bn": "বাংলা", "cs": "čeština", "da": "dansk", "de": "Deutsch", "el": "Ελληνικά", "en": "English",
    "es": "español", "fa": "فارسی", "fi": "suomi", "fil": "Filipino", "fr": "français", "he": "עברית", "hi": "हिन्दी",
    "hr": "hrvatski", "hu": "magyar", "id": "Bahasa Indonesia", "it": "italiano", "ja": "日本語", "ko": "한국어",
    "mi": "Māori", "nl": "Nederlands", "no": "norsk", "pl": "polski", "pt": "português", "qu": "Runasimi",
    "quz": "Runasimi", "ro": "română", "ru": "русский", "sv": "svenska", "sw": "Kiswahili", "te": "తెలుగు", "th": "ไทย",
    "tr": "Türkçe", "uk": "українська", "vi": "Tiếng Việt", "zh": "中文",
}  # fmt: skip
"""What the speakers of those languages call them."""

NATIVE = "en"
"""The language of the base models."""

# language, optional script, optional region or UN area: the subset of BCP-47 that names a language and nothing else.
_TAG = re.compile(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?", re.IGNORECASE)


def normalise_tag(tag: str) -> str:
    """Return a language tag in BCP-47's own spelling: ``PT_br`` becomes ``pt-BR``.

    Any well-formed tag is welcome, not only those of the table: the languages that need babelclip most are rare.

    Raises:
        DataError: the tag is not of the form language[-Script][-REGION].
    """
    match = _TAG.fullmatch(tag.strip().replace("_", "-"))
    if match is None:
        by_name = {name.lower(): known for known, (name, _) in (LANGUAGES | MORE_LANGUAGES).items()}
        close = difflib.get_close_matches(tag.strip().lower(), by_name, n=1, cutoff=0.7)
        guess = f"Did you mean {by_name[close[0]]!r}? " if close else ""
        raise DataError(
            f"{tag!r} is not a language tag",
            fix=f"{guess}Write a BCP-47 tag such as 'sw', 'pt-BR' or 'zh-Hant' (language[-Script][-REGION]).",
        )
    language, script, region = match.groups()
    parts = [language.lower(), script.title() if script else None, region.upper() if region else None]
    return "-".join(part for part in parts if part)


def as_tag(text: str) -> str | None:
    """Return a text as ``normalise_tag`` does, or None where it is no language tag."""
    try:
        return normalise_tag(text)
    except DataError:
        return None


def language_name(tag: str) -> str:
    """Return the English name of a language, or the tag itself where we do not know one."""
    known = LANGUAGES | MORE_LANGUAGES
    return known.get(tag, known.get(language_part(tag), (tag, "")))[0]


def own_name(tag: str) -> str:
    """Return what its speakers call a language, or its English name where we do not know that."""
    return OWN_NAMES.get(tag, OWN_NAMES.get(language_part(tag), language_name(tag)))


def language_part(tag: str) -> str:
    """Return the language of a normalised tag, without script and region."""
    return tag.split("-", maxsplit=1)[0]
