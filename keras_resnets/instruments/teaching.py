"""Measures the effective depth of Wu et al. 2016: which blocks learn, and through paths of which lengths.

Wu et al. (on effective depth) write the gradient of a block's weights as a sum of terms that pass through none, one,
two, ... of the blocks behind it. If the terms through more than l blocks vanish, no part of the network deeper than l
is trained end to end, and a network of more blocks is over-deepened. They do not measure l. This module computes it
from the exact parts of the gradient by path length (`keras_resnets.spectrum`): for each block the length beyond which
all longer paths together are at most 5 % of its gradient, and the largest of these over blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_resnets.instruments.path_draws import REST
from keras_resnets.instruments.spectrum import Spectrum

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = ["gradient_share", "taught_by"]


def measure(spectrum: Spectrum, x, y) -> pd.DataFrame:
    """Measures the gradient of the mean loss with respect to each block's weights.

    Args:
        spectrum: the network's spectrum.
        x: examples.
        y: their classes.

    Returns:
        A pandas.DataFrame by block, for blocks with weights: `gradient_share`, the gradient's norm over the sum of all
        blocks' norms, and `taught_by`, the path length, with the block's own residual branch, beyond which all longer
        paths together are at most 5 % of it. Empty if the gradient is not finite.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> from keras_resnets.instruments.teaching import measure
        >>> spectrum = kr.spectrum.Spectrum(kr.build("resnet8", (8, 8, 1)))
        >>> measure(spectrum, np.ones((2, 8, 8, 1)), np.array([3, 7])).index.tolist()
        ['stage1_block1', 'stage2_block1', 'stage3_block1']
    """
    import pandas as pd

    names = [block.name for block in spectrum.model.blocks]
    by_block = {}
    try:
        for parts in spectrum.exact(x, y, weights=True):
            if parts.of == "weights" and parts.at in names:
                by_block[parts.at] = (float(parts.whole[0]), int(np.argmax(parts.rest[:, 0] <= REST)))
    except FloatingPointError:
        by_block = {}
    table = pd.DataFrame.from_dict(by_block, orient="index", columns=COLUMNS, dtype=float)
    table["gradient_share"] /= table["gradient_share"].sum()
    return table.reindex([name for name in names if name in by_block])


def effective_length(rows: pd.DataFrame) -> float:
    """Returns the effective depth l of Wu et al.: the largest `taught_by` of any block; NaN without any."""
    return float(rows["taught_by"].max())
