"""Places the labels of points in figures, so that none lies on another one, on a point or outside of its panel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

# A label of a point: the panel, the point in units of its axes, and the text.
Label = tuple[Any, float, float, str]
# Directions from a point, and distances in points of 1/72 inch, the best ones first.
_DIRECTIONS = ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1), (0, -1), (1, 0), (-1, 0))
_DISTANCES = (7, 16, 28, 42, 60, 80)
# What it costs to hide another label, to leave the panel, and to hide a point.
_COSTS = np.array([1000.0, 100.0, 1.0])


def place(figure, labels: Sequence[Label], fontsize: float = 8, colour: str = "0.25") -> None:
    """Draws labels beside their points, each where it is nearest without covering anything.

    Points with the same text in the same place have one label. Where there is no room at all, what is covered is a
    point rather than a label. The figure must have been drawn, with all else in it.

    Args:
        figure: a matplotlib figure.
        labels: panel, x, y and text of each.
        fontsize: of the text.
        colour: of the text.
    """
    if not labels:
        return
    pixels = figure.dpi / 72
    obstacles = {axes: _markers(axes, 3.5 * pixels) for axes, *_ in labels}
    placed: dict[Any, list[np.ndarray]] = {axes: [] for axes in obstacles}
    for axes, x, y, text in dict.fromkeys(labels):
        look = {"fontsize": fontsize, "color": colour, "textcoords": "offset points", "annotation_clip": False}
        drawn = axes.annotate(text, (x, y), (0, 0), ha="center", va="center", zorder=5, **look)
        size, at = drawn.get_window_extent(), axes.transData.transform((x, y))
        half, panel = np.array([size.width, size.height]) / 2, axes.get_window_extent()

        # The first of the places that cost least.
        places: list[tuple[float, int, np.ndarray, np.ndarray]] = []
        for distance in _DISTANCES:
            for across, up in _DIRECTIONS:
                shift = np.array([across * (distance * pixels + half[0]), up * (distance * pixels + half[1])])
                box = np.concatenate([at + shift - half, at + shift + half])
                outside = box[0] < panel.x0 or box[1] < panel.y0 or box[2] > panel.x1 or box[3] > panel.y1
                covered = _overlaps(box, placed[axes]), outside, _overlaps(box, obstacles[axes])
                places.append((float(_COSTS @ covered), len(places), shift, box))
        _, _, shift, box = min(places, key=lambda found: found[:2])
        placed[axes].append(box)
        drawn.set_position(tuple(shift / pixels))
        if _is_nearer_to_another(box, at, obstacles[axes]):
            line = {"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
            drawn.remove()
            axes.annotate(
                text, (x, y), tuple(shift / pixels), ha="center", va="center", zorder=5, arrowprops=line, **look
            )


def thin(names: Sequence[Any]) -> None:
    """Shortens names in a row that lie on each other by what they all begin with, and hides those that still do."""
    if not _collide(names):
        return
    texts = [name.get_text() for name in names]
    shared = sum(1 for _ in itertools.takewhile(lambda letters: len({*letters}) == 1, zip(*texts, strict=False)))
    if all(len(text) > shared for text in texts):
        for name, text in zip(names, texts, strict=True):
            name.set_text(text[shared:])
    shown = [names[0]]
    for name in names[1:]:
        if _collide([shown[-1], name]):
            name.set_visible(False)
        else:
            shown.append(name)


def _collide(names: Sequence[Any]) -> bool:
    """Whether one of the names in a row reaches the next one."""
    extents = [name.get_window_extent() for name in names]
    return any(one.x1 + 2 > next_one.x0 for one, next_one in itertools.pairwise(extents))


def _is_nearer_to_another(box: np.ndarray, own: np.ndarray, markers: list[np.ndarray]) -> bool:
    """Whether the point of a label is not the one nearest to it, so that a line has to tell which it is."""

    def away(point: np.ndarray) -> float:
        return float(np.linalg.norm(np.maximum(0, np.maximum(box[:2] - point, point - box[2:]))))

    centres = [(marker[:2] + marker[2:]) / 2 for marker in markers]
    return any(away(centre) < away(own) + 6 for centre in centres if not np.allclose(centre, own, atol=1))


def _markers(axes, half: float) -> list[np.ndarray]:
    """Returns boxes around the markers in a panel, in pixels: left, bottom, right, top."""
    centres = [
        line.get_transform().transform(np.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)]))
        for line in axes.lines
        if line.get_marker() not in ("None", "", " ", None) and len(line.get_xdata())
    ]
    return [np.concatenate([centre - half, centre + half]) for group in centres for centre in group]


def _overlaps(box: np.ndarray, others: list[np.ndarray]) -> int:
    """Returns how many of the others a box overlaps."""
    if not others:
        return 0
    left, bottom, right, top = np.array(others).T
    return int(((box[0] < right) & (box[2] > left) & (box[1] < top) & (box[3] > bottom)).sum())
