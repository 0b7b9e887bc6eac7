from .choices import Range
from .searching import search, work
from .space import DepthWidth
