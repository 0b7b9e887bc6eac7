"""Specs, recipes and other plain data: JSON of any kind, fields of any type and extreme values."""

import dataclasses
import json

import hypothesis
import numpy as np
from helpers import input_arrays as made
from helpers.input_watch import ask
from hypothesis import strategies as st

import keras_resnets as kr
from keras_resnets.architecture import unit
from keras_resnets.commands import checks
from keras_resnets.training import recipes

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def specs(draw):
    """Specs that are right, of few and small layers."""
    bottleneck = draw(st.booleans())
    stages = []
    for index in range(draw(st.integers(1, 3))):
        width = draw(st.integers(1, 6))
        widths = (width, width, width * draw(st.integers(1, 4))) if bottleneck else (width,) * draw(st.integers(1, 2))
        kernels = tuple(draw(st.sampled_from([1, 3, 5])) for _ in widths)
        stages.append(
            kr.Stage(draw(st.integers(1, 2)), widths, kernels, stride=1 if index == 0 else draw(st.integers(1, 2)))
        )
    fields = {
        "placement": draw(st.sampled_from(sorted(unit.PLACEMENTS))),
        "shortcut": draw(st.sampled_from(["A", "B", "C", "none"])),
        "skip": draw(
            st.sampled_from(["identity", "identity", "scale:0.5:0.5", "gate:-2", "dropout:0.3", "shortcut_gate:1"])
        ),
        "stem": draw(st.sampled_from(["conv3", "conv7"])),
        "stem_width": draw(st.integers(1, 5)),
        "hidden": draw(st.sampled_from([(), (3,)])),
        "zero_gamma": draw(st.booleans()),
        "dilation_rule": draw(st.sampled_from(["exact", "block", "stage"])),
        "output_stride": draw(st.sampled_from([None, None, 1, 2])),
        "dropout": draw(st.sampled_from([0.0, 0.2])),
    }
    given = {name: value for name, value in fields.items() if draw(st.booleans())}
    # The parameter-free shortcut cannot remove channels.
    return tuple(stages), {"shortcut": "B", **given}


@hypothesis.given(specs())
def test_a_network_has_the_parameters_that_its_spec_counts(drawn):
    stages, fields = drawn
    spec, _ = ask("Spec", lambda: kr.Spec("any", stages, (16, 16, 2), 3, **fields))
    if spec is None:
        return
    assert ask("Spec.from_json", lambda: kr.Spec.from_json(spec.to_json())) == (spec, None)
    counts, _ = ask("counting.count", lambda: kr.counting.count(spec))
    network, refusal = ask("build", lambda: kr.build(spec))
    if network is not None:
        assert refusal is None
        weights = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
        assert counts.parameters == weights
        assert counts.statistics == network.count_params() - weights


@hypothesis.given(JSON)
def test_any_json_is_a_spec_or_refused(values):
    ask("Spec.from_json", lambda: kr.Spec.from_json(json.dumps(values)))


@hypothesis.given(st.sampled_from([f.name for f in dataclasses.fields(kr.Spec)]), made.ANYTHING)
def test_any_value_of_a_field_of_a_spec(name, value):
    spec, _ = ask("Spec.replace", lambda: kr.variants.spec("resnet8").replace(**{name: value}))
    if spec is not None:
        ask("counting.count", lambda: kr.counting.count(spec))
        ask("Spec.to_json", lambda: kr.Spec.from_json(spec.to_json()))


@hypothesis.given(st.sampled_from([f.name for f in dataclasses.fields(recipes.Recipe)]), made.ANYTHING)
def test_any_value_of_a_field_of_a_recipe(name, value):
    recipe, _ = ask("Recipe.replace", lambda: recipes.get("digits").replace(**{name: value}))
    if recipe is not None:
        saved = json.loads(json.dumps(recipe.to_dict()))
        assert ask("Recipe.from_dict", lambda: recipes.Recipe.from_dict(saved))[0] == recipe


@hypothesis.given(st.one_of(JSON.map(json.dumps), st.text(max_size=8), st.binary(max_size=8)))
def test_any_file_is_a_recipe_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "recipe.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    ask("recipe of a file", lambda: checks.read_recipe(str(file)))
    ask("spec of a file", lambda: checks.read_spec(str(file)))
    ask("fields of a file", lambda: checks.read_fields("--preprocessing", str(file)))
