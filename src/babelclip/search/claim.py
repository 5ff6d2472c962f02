"""Which base model an index is of: its fingerprint is written with the first row and asked for ever after."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from babelclip.encoders.looking import READER
from babelclip.errors import FormatError, SettingError
from babelclip.search.store import About, VectorStore

if TYPE_CHECKING:
    from babelclip.data import ImageVectors
    from babelclip.encoders import DualEncoder


def claim(store: VectorStore, encoder: DualEncoder, *, model: str | None, frames: int) -> None:
    """Begin a store, or refuse one whose vectors are of another base model.

    Args:
        store: where the index is.
        encoder: the base model.
        model: what a later search is to load; by default the encoder's name.
        frames: of a video, at most.

    Raises:
        FormatError: another fingerprint.
    """
    about = store.about()
    if about is None:
        about = About(model=model or encoder.name, fingerprint=encoder.fingerprint, dim=encoder.dim, frames=frames,
                      reader=READER)  # fmt: skip
        store.write_about(about)
    check_model(store, about, encoder)


def remember_model(store: VectorStore, model: str, note: Callable[[str], None]) -> None:
    """Write down what a later search is to load, where that is another name than before; ``note`` is told.

    Its fingerprint was checked, and the right to write is held.
    """
    about = store.about()
    if about is not None and about.model != model:
        store.write_about(about.model_copy(update={"model": model}))
        note(f"searches of this index now load {model!r}, until now {about.model!r}")


def note_reader(about: About, pictures: int, note: Callable[[str], None]) -> None:
    """Tell that ``pictures`` were read now in another way than the first ones of a store."""
    if about.reader not in (None, READER):
        note(
            f"pictures of this index were read in way {about.reader}, the {pictures:,} of now in way {READER}: vectors "
            "of the same picture differ a little (a new --store reads all of them again)"
        )


def check_frames(store: VectorStore, about: About, frames: int) -> None:
    """Refuse another number of frames than the videos of a store were looked at with.

    Raises:
        FormatError: it is another one.
    """
    if about.frames != frames:
        raise FormatError(
            f"videos were indexed with {about.frames} frames, not {frames}",
            file=store.place, fix=f"Say --frames {about.frames}, or choose a new --store.",
        )  # fmt: skip


def check_model(store: VectorStore, about: About, encoder: DualEncoder) -> None:
    """Refuse a base model that did not make a store's vectors.

    Raises:
        FormatError: it has another fingerprint.
    """
    if about.fingerprint != encoder.fingerprint:
        raise FormatError(
            f"the index is of the base model {about.model!r} with fingerprint {about.fingerprint[:12]}, but "
            f"{encoder.name!r} has {encoder.fingerprint[:12]}, and vectors of two models cannot be compared",
            file=store.place, fix="Give the base model that it was made with as --model, or index into a new --store.",
        )  # fmt: skip


def check_vectors(vectors: ImageVectors, encoder: DualEncoder) -> None:
    """Refuse given vectors of another width.

    Raises:
        SettingError: theirs is not the model's.
    """
    if vectors.dim != encoder.dim:
        raise SettingError(
            f"the vectors in {vectors.file} are {vectors.dim} wide, but {encoder.name!r} has {encoder.dim}",
            fix="Give vectors of this base model, or their own model as --model.",
        )
