"""Folders of pictures with classes that are told apart by eye: bars, crosses and discs of all sizes and colours."""

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("bars", "cross", "disc")


def draw(kind, rng, smallest=60):
    """Draws a picture of a class."""
    width, height = (int(side) for side in rng.integers(smallest, 2 * smallest, 2))
    dark, light = (tuple(int(value) for value in rng.integers(*ends, 3)) for ends in ((0, 90), (150, 256)))
    picture = Image.new("RGB", (width, height), dark)
    pen, radius = ImageDraw.Draw(picture), int(min(width, height) * rng.uniform(0.25, 0.38))
    left, top, right, bottom = width // 2 - radius, height // 2 - radius, width // 2 + radius, height // 2 + radius
    if kind == "disc":
        pen.ellipse((left, top, right, bottom), fill=light)
    elif kind == "cross":
        for ends in ((left, top, right, bottom), (left, bottom, right, top)):
            pen.line(ends, fill=light, width=max(2, radius // 3))
    else:
        for y in range(top, bottom, max(4, radius // 2)):
            pen.rectangle((left, y, right, y + max(1, radius // 5)), fill=light)
    return picture


def fill(folder, each, seed=0, smallest=60):
    """Writes a folder with a folder for each class, and returns the files."""
    rng, files = np.random.default_rng(seed), []
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            files.append(folder / kind / f"{number:02d}.png")
            draw(kind, rng, smallest).save(files[-1])
    return files
