"""Pages of a stack as gray values or indices, in whatever form they are stored."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError, LabelFormatError, PlateletEMError
from _platelet_em.sources.file_stack import FileStack

__all__ = ["describe_pixel", "hide_transparent", "read_gray", "read_stored"]

_ALPHA_CHANNELS = (2, 4)


def describe_pixel(stack: FileStack, z: int, is_wrong: NDArray[np.bool_]) -> tuple[str, int, int]:
    """Where the first wrong pixel of page z is, for messages, and its y and x."""
    y, x = (int(c) for c in np.unravel_index(int(np.argmax(is_wrong)), is_wrong.shape))
    return f"{stack.describe_file(z)}: z={z}, y={y}, x={x}", y, x


def read_gray(stack: FileStack, z: int, *, is_label: bool = False) -> NDArray[Any]:
    """The gray values of page z, (y, x): of colors, all channels have to be equal.

    Args:
        stack: The pages.
        z: Which page.
        is_label: Whether they are labels: transparent pixels are 0 then, and are refused if not.

    Raises:
        PlateletEMError: for colors that are not gray; `LabelFormatError` of labels,
            `ImageFormatError` of images.
    """
    error = LabelFormatError if is_label else ImageFormatError
    page = stack.page(z)
    if stack.has_colors:
        return _read_palette(stack, z, page, error)
    if page.ndim == 2:
        return page
    colors = page
    if page.shape[-1] in _ALPHA_CHANNELS:
        colors = hide_transparent(stack, z, page, is_label=is_label)
    gray = colors[..., 0]
    is_wrong = np.zeros(gray.shape, np.bool_)
    for channel in range(1, colors.shape[-1]):
        is_wrong |= colors[..., channel] != gray
    if is_wrong.any():
        place, y, x = describe_pixel(stack, z, is_wrong)
        _refuse_color(place, colors[y, x].tolist(), error)
    return np.ascontiguousarray(gray)


def read_stored(stack: FileStack, z: int) -> NDArray[Any]:
    """The labels of page z, (y, x), as stored: indices of a palette, else gray values.

    Raises:
        LabelFormatError: for colors that are not gray, and for dtypes that are not integers.
    """
    if stack.dtype.kind not in "iu":
        raise LabelFormatError(
            f"{stack.name}: expected integers, got dtype {stack.dtype}: write labels as integers"
        )
    return stack.page(z) if stack.has_colors else read_gray(stack, z, is_label=True)


def hide_transparent(
    stack: FileStack, z: int, page: NDArray[Any], *, is_label: bool = True
) -> NDArray[Any]:
    """The channels of page z without its last one, alpha; transparent pixels of labels are 0.

    Raises:
        PlateletEMError: for pixels that are half transparent, of images also transparent ones.
    """
    alpha = page[..., -1]
    full = np.iinfo(page.dtype).max if page.dtype.kind in "iu" else 1
    is_opaque = alpha == full
    is_wrong = ~is_opaque & (alpha != 0) if is_label else ~is_opaque
    if is_wrong.any():
        place, y, x = describe_pixel(stack, z, is_wrong)
        expected = f"0 (transparent) or {full} (opaque)" if is_label else f"{full} (opaque)"
        error = LabelFormatError if is_label else ImageFormatError
        raise error(
            f"{place}: expected alpha {expected}, got {alpha[y, x]}: write the picture without "
            "transparency"
        )
    colors = page[..., :-1]
    return colors if is_opaque.all() else colors * is_opaque[..., None].astype(page.dtype)


def _read_palette(
    stack: FileStack, z: int, page: NDArray[Any], error: type[PlateletEMError]
) -> NDArray[np.uint8]:
    """The gray values that the colors of indices have."""
    colors = stack.color_map(z)
    is_gray = (colors == colors[:, :1]).all(axis=1) & (colors[:, 0] <= 255)
    if not is_gray.all() and (is_wrong := ~is_gray[page]).any():
        place, y, x = describe_pixel(stack, z, is_wrong)
        _refuse_color(place, colors[page[y, x]].tolist(), error)
    gray: NDArray[np.uint8] = colors[:, 0].astype(np.uint8)[page]
    return gray


def _refuse_color(place: str, color: list[int], error: type[PlateletEMError]) -> NoReturn:
    what, remedy = {
        ImageFormatError: ("a gray value", "write the image as gray values"),
        LabelFormatError: (
            "a label",
            "write labels as integers: which color stands for which label is not known",
        ),
    }[error]
    raise error(
        f"{place}: expected {what}, which is the same in all channels, got the color "
        f"{tuple(color)}: {remedy}"
    )
