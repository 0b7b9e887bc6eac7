"""Path policies: which residual branches take part in a training step, drawn anew for each batch.

A policy is plain data. Its draws are a function of its seed and the number of the step alone, so there is nothing
to store, a resumed training draws what it would have drawn, and all replicas of a batch draw alike. (Compiled by XLA,
with `jit_compile=True`, TensorFlow draws other numbers from the same seed than without.)

A block that is off hands on its shortcut; its residual branch is not computed. To the optimiser it is a block whose
gradient is zero: its momentum runs out and its decay goes on, as in the code of Huang et al. 2016. The moving
statistics of its batch normalisation stay where they are.
"""

from keras_resnets.paths.kinds import Bernoulli, DropPath, FixedSize, StochasticDepth, Weighted
from keras_resnets.paths.names import get
from keras_resnets.paths.policy import Policy
from keras_resnets.paths.schedule import Schedule
