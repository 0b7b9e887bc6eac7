"""Training by a recipe, in a run directory from which an interrupted training resumes bit for bit.

The names are listed in `__init__.pyi` and imported when first used: the command line asks for the recipes alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
