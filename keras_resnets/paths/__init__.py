"""Path policies: draw, for each batch, the residual branches that take part in a training step.

A policy is plain data. Its draws depend only on its seed and the step's number, so there is no state to store, a
resumed training continues with the same draws, and all replicas of a batch draw the same. (With `jit_compile=True`,
TensorFlow draws other numbers from the same seed.)

A block that is off passes on its shortcut; its residual branch is not computed. The optimiser sees a gradient of zero:
momentum fades and weight decay continues, as in the code of Huang et al. 2016. The moving statistics of the branch's
batch normalisation do not change.
"""

from keras_resnets.paths.kinds import Bernoulli, DropPath, FixedSize, StochasticDepth, Weighted
from keras_resnets.paths.names import get
from keras_resnets.paths.policy import Policy
from keras_resnets.paths.schedule import Schedule
