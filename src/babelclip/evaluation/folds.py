"""n-fold evaluation: a test set cut into smaller galleries, such as MSCOCO 1k, five folds of 1,000 images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from babelclip.errors import DataError, SettingError


@dataclass(frozen=True)
class Fold:
    """One part of a test set.

    Attributes:
        images: its n images.
        texts: (m,) numbers of their texts.
        owner: (m,) image of each of these texts, counted from the fold's first image.
    """

    images: slice
    texts: Tensor
    owner: Tensor


def cut_folds(owner: Tensor, num_images: int, folds: int) -> Iterator[Fold]:
    """Cut images into consecutive equal parts, in their order; texts go with their images.

    Args:
        owner: (M,) index of each text's image.
        num_images: N.
        folds: how many parts; 1 is the whole set.

    Raises:
        SettingError: folds is below 1, or N is not a multiple of it.
        DataError: a text belongs to none of the images; it would vanish.
    """
    strangers = int(((owner < 0) | (owner >= num_images)).sum())
    if strangers:
        raise DataError(
            f"{strangers} of {len(owner)} texts belong to none of the {num_images} pictures",
            fix=f"Number the pictures from 0 to {num_images - 1}.",
        )
    if folds < 1:
        raise SettingError(f"folds is {folds}", fix="It must be at least 1; 1 is the whole gallery.")
    if num_images % folds:
        fewer = next(count for count in range(folds, 0, -1) if num_images % count == 0)
        smaller = num_images - num_images % folds
        cut = f", or leave out {num_images - smaller} pictures, so that {smaller} remain" if smaller else ""
        raise SettingError(
            f"{num_images} pictures cannot be cut into folds={folds} equal parts", fix=f"Choose folds={fewer}{cut}."
        )
    size = num_images // folds
    for start in range(0, num_images, max(1, size)):
        inside = ((owner >= start) & (owner < start + size)).nonzero()[:, 0]
        yield Fold(slice(start, start + size), inside, owner[inside] - start)
