"""Which blocks learn, and by paths of what lengths: the effective depth of Wu et al. 2016, measured.

Wu et al. (on effective depth) write the gradient of a block's weights as a sum of terms that come through none, one,
two, ... of the blocks behind it. If the terms through more than l blocks have vanished, no part of the network deeper
than l is trained end to end, and a network of more blocks is over-deepened. They give no measurement of l. Here it is
read off the exact parts of the gradient by length of path (`keras_resnets.spectrum`): of each block the length beyond
which all longer paths together are at most 5 % of its gradient, and the largest of these over blocks.
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
        spectrum: of the network.
        x: examples.
        y: their classes.

    Returns:
        A pandas.DataFrame by block, of those that have weights: `gradient_share`, its norm over the sum of all blocks'
        norms, and `taught_by`, the length of path, the block's own residual branch counted, beyond which all longer
        paths together are at most 5 % of it. Empty where the gradient is not finite.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> from keras_resnets.instruments.teaching import measure
        >>> spectrum = kr.spectrum.Spectrum(kr.build("resnet8", (8, 8, 1)))
        >>> measure(spectrum, np.ones((2, 8, 8, 1)), np.array([3, 7])).index.tolist()
        ['stage1_block1', 'stage2_block1', 'stage3_block1']
    """
    import pandas as pd

    names = [block.name for block in spectrum.model.blocks]
    found = {}
    try:
        for parts in spectrum.exact(x, y, weights=True):
            if parts.of == "weights" and parts.at in names:
                found[parts.at] = (float(parts.whole[0]), int(np.argmax(parts.rest[:, 0] <= REST)))
    except FloatingPointError:
        found = {}
    table = pd.DataFrame.from_dict(found, orient="index", columns=COLUMNS, dtype=float)
    table["gradient_share"] /= table["gradient_share"].sum()
    return table.reindex([name for name in names if name in found])


def effective_length(rows: pd.DataFrame) -> float:
    """The effective depth l of Wu et al.: the largest length that any block is taught by; NaN where none is known."""
    return float(rows["taught_by"].max())
