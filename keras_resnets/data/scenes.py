"""A synthetic set for segmentation: scikit-learn's digits in front of textures."""

from __future__ import annotations

import functools

import numpy as np

from keras_resnets.data import sources
from keras_resnets.data.labels import Labels

COUNTS = {"train": 800, "validation": 100, "test": 200}
# The side, in pixels, that all lengths below refer to, and the default side of images.
SIDE, PIXELS = 64, 128
LABELS = Labels(("background", *map(str, range(10))))
# Levels, of 16, at which a digit's pixel starts to cover the background, and covers it completely.
FAINT, SOLID = 4.0, 9.0


def scenes(image_size: int | None):
    """Renders 1,100 scenes of digits in front of textures; no two splits share a digit.

    Each scene has its own seed, and shows the same picture at every size.
    """
    side = image_size or PIXELS
    splits = {split: sources.Arrays(*_render(split, count, side)) for split, count in COUNTS.items()}
    return splits, LABELS, (side, side, 3), None


@functools.lru_cache(maxsize=6)
def _render(split: str, count: int, side: int):
    """Returns the images and masks of the scenes of a split."""
    images, labels = _digits()[split]
    seed = list(COUNTS).index(split)
    drawn = [scene(images, labels, side, np.random.default_rng((seed, number))) for number in range(count)]
    pictures, masks = zip(*drawn, strict=True)
    return np.stack(pictures), np.stack(masks)


@functools.cache
def _digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns images and labels of the digits used in each split's scenes."""
    pool = sources.digit_images()
    train, validation = sources.hold_out(sources.Arrays(*pool["train"]), 0.1)
    return {
        split: (arrays.images[..., 0], arrays.labels)
        for split, arrays in (("train", train), ("validation", validation), ("test", sources.Arrays(*pool["test"])))
    }


def scene(digits: np.ndarray, labels: np.ndarray, side: int, rng: np.random.Generator):
    """Draws one scene.

    Args:
        digits: images to choose from, (examples, 8, 8), from 0 to 16.
        labels: their classes.
        side: side of the scene, in pixels.
        rng: source of all draws.

    Returns:
        The image, (side, side, 3) uint8, and the label of each pixel, (side, side) uint8.
    """
    ground = texture(side, rng)
    behind = ground.mean((0, 1))
    layers = [(0, shape(side, rng), _color(behind, rng)) for _ in range(rng.integers(0, 3))]
    for _ in range(rng.integers(2, 5)):
        i = rng.integers(len(digits))
        layers.append((int(labels[i]) + 1, _digit(digits[i], side, rng), _color(behind, rng)))
    image, mask = compose(ground, layers)
    noise = rng.normal(0, 6, (SIDE, SIDE, 3))
    return np.clip(np.round(image + _enlarge(noise, side)), 0, 255).astype("uint8"), mask


def compose(ground: np.ndarray, layers):
    """Paints layers over each other; a layer that covers at least half of a pixel gives it its label.

    Args:
        ground: the background image, (height, width, 3).
        layers: (label, cover from 0 to 1 as (height, width), colour as (3,)), from back to front.
    """
    image, mask = ground.astype("float64"), np.zeros(ground.shape[:2], "uint8")
    for label, cover, color in layers:
        image = image + cover[..., None] * (color - image)
        mask[cover >= 0.5] = label
    return image, mask


def texture(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a background of one of four kinds: waves, tiles, clouds or grain in two colours, lit from one side."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side * SIDE
    angle, length = rng.uniform(0, np.pi), rng.uniform(6, 24)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = rng.integers(4)
    if kind == 0:
        pattern = 0.5 + 0.5 * np.sin(2 * np.pi * u / length + rng.uniform(0, 2 * np.pi))
    elif kind == 1:
        pattern = (np.floor(u / length) + np.floor(v / length)) % 2
    else:
        cells = 64 if kind == 3 else int(rng.integers(4, 12))
        pattern = np.clip(_enlarge(rng.uniform(-0.2, 1.2, (cells, cells, 1)), side)[..., 0], 0, 1)
    first = rng.uniform(10, 130, 3)
    second = np.clip(first + rng.uniform(-60, 60, 3), 0, 255)
    light = 1 + rng.uniform(-0.3, 0.3) * (2 * u / u.max() - 1)
    return np.clip((first + pattern[..., None] * (second - first)) * light[..., None], 0, 255)


def shape(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the cover of a cross or an ellipse: a distractor unlike any digit, labelled as background."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side * SIDE
    x, y = x - rng.uniform(8, SIDE - 8), y - rng.uniform(8, SIDE - 8)
    angle, extent, thickness = rng.uniform(0, np.pi), rng.uniform(5, 11), rng.uniform(2, 4)
    u, v = np.abs(x * np.cos(angle) + y * np.sin(angle)), np.abs(y * np.cos(angle) - x * np.sin(angle))
    cross = np.maximum(np.maximum(u, v) - extent, np.minimum(u, v) - thickness / 2)
    ellipse = np.hypot(u, v * rng.uniform(1, 2)) - extent / 1.5
    return np.clip(0.5 - (cross if rng.random() < 0.5 else ellipse), 0, 1)


def _digit(digit: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the cover of a digit, enlarged, rotated by up to 20 degrees and placed where most of it is visible."""
    from scipy.ndimage import map_coordinates

    scale, angle = rng.uniform(2.5, 5.0), np.deg2rad(rng.uniform(-20, 20))
    center = rng.uniform(2 * scale, SIDE - 2 * scale, 2)
    cover = np.zeros((side, side))
    # No part of it is farther from its centre than half the diagonal of nine pixels.
    first, last = (np.clip((center + reach) / SIDE * side, 0, side).astype(int) for reach in (-7 * scale, 7 * scale))
    y, x = (np.mgrid[first[0] : last[0], first[1] : last[1]] + 0.5) / side * SIDE
    y, x = (y - center[0]) / scale, (x - center[1]) / scale
    turned = [y * np.cos(angle) - x * np.sin(angle) + 3.5, y * np.sin(angle) + x * np.cos(angle) + 3.5]
    levels = map_coordinates(digit.astype("float64"), turned, order=1)
    cover[first[0] : last[0], first[1] : last[1]] = np.clip((levels - FAINT) / (SOLID - FAINT), 0, 1)
    return cover


def _color(behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a light colour that contrasts with the background."""
    while True:
        color = rng.uniform(60, 255, 3)
        if np.linalg.norm(color - behind) > 120:
            return color


def _enlarge(grid: np.ndarray, side: int) -> np.ndarray:
    """Resizes a square of values to a side by linear interpolation; one of that side is returned unchanged."""
    from scipy.ndimage import map_coordinates

    cells = len(grid)
    if cells == side:
        return grid
    at = np.clip((np.arange(side) + 0.5) / side * cells - 0.5, 0, cells - 1)
    points = np.meshgrid(at, at, indexing="ij")
    return np.stack([map_coordinates(channel, points, order=1) for channel in np.moveaxis(grid, -1, 0)], -1)
