"""Networks without the blocks that they can do without."""

from keras_resnets.pruning.choosing import Choosing
from keras_resnets.pruning.pruning import Pruned, prune
