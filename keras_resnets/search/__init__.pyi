from .choices import Range
from .searching import search
from .space import DepthWidth
