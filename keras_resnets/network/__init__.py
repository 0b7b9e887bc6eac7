"""A residual network as a chain of blocks: its layers, assembly from a spec, edits, costs and saving.

The names are listed in `__init__.pyi` and imported when first used: parts of the room need no Keras.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
