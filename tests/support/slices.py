"""Slices to draw, and how to find what was drawn."""

import numpy as np

from _platelet_em.facts import PUBLISHED
from _platelet_em.rows import figure, picture
from _platelet_em.rows.picture import SliceArrays, class_colors

GAP = 4
PALETTE = class_colors(PUBLISHED)
CLASS_COLORS = [tuple(color) for color in PALETTE.tolist()]


def arrays_of(image, semantic, cells, organelles):
    return SliceArrays(image, semantic, {"cells": cells, "organelles": organelles})


def draw_preview(*slice_, **options):
    return picture.draw_preview(arrays_of(*slice_), PUBLISHED, **options)


def draw_panels(*slice_, **options):
    return figure.draw_panels(arrays_of(*slice_), PUBLISHED, **options)


def make_slice(shape=(40, 60), *, cell=3, organelle=8):
    """One cell over most of the slice, one alpha granule in it, and a gradient as image."""
    image = np.linspace(0, 65535, np.prod(shape)).astype(np.uint16).reshape(shape)
    cells, organelles = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    y, x = shape
    cells[y // 8 : y - y // 8, x // 8 : x - x // 8] = cell
    organelles[y // 4 : y // 2, x // 4 : x // 2] = organelle
    semantic = np.where(organelles > 0, 3, np.where(cells > 0, 1, 0)).astype(np.uint8)
    return image, semantic, cells, organelles


def preview_panel(rgb, index, width):
    return rgb[:, index * (width + GAP) : index * (width + GAP) + width]


def colors_of(rgb):
    return {tuple(color) for color in rgb.reshape(-1, 3).tolist()}
