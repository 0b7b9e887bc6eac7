"""What is public: the names of `keras_resnets`, and of those of its rooms and modules that are named there."""

import inspect
import types

import keras_resnets as kr


def public_names():
    """All public names that are no modules, such as `"build"` and `"studies.lesion"`, with what they stand for.

    Of a module that lists its names (`__all__`), those; of another room, what its face imports; of another module, the
    functions and classes that are written there.
    """
    names = {}
    for name in kr.__all__:
        value = getattr(kr, name)
        if not isinstance(value, types.ModuleType):
            names[name] = value
            continue
        ours = value.__name__ + "." if hasattr(value, "__path__") else value.__name__
        for inner in getattr(value, "__all__", [*vars(value)]):
            item = getattr(value, inner)
            listed = hasattr(value, "__all__") and not isinstance(item, types.ModuleType)
            # A face of a room imports from its own modules, and from rooms below what belongs to its subject.
            of_face = hasattr(value, "__path__") and str(getattr(item, "__module__", "")).startswith("keras_resnets")
            written = getattr(item, "__module__", None) == ours
            if listed or (not inner.startswith("_") and callable(item) and (of_face or written)):
                names[f"{name}.{inner}"] = item
    return {name: item for name, item in names.items() if not (inspect.isclass(item) and issubclass(item, Exception))}
