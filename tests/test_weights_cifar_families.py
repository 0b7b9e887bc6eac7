"""Weights of CIFAR projects and of transformers: logits against independent computations, and which files are whose."""

import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.family_references import NETWORKS, Network, OsmrImagenet, Transformers
from helpers.weight_references import Held

import keras_resnets as kr
from keras_resnets.architecture import counting, variants
from keras_resnets.errors import ArgumentError
from keras_resnets.weights import recognition

FAMILY = {
    "chenyaofo": "chenyaofo's and bearpaw's CIFAR networks",
    "bearpaw": "bearpaw's preresnet",
    "xternalz": "xternalz' and bearpaw's wide networks",
    "kuangliu": "kuangliu's CIFAR networks",
    "torchvision_conv3": "torchvision on a 3x3 stem",
    "kuangliu_pre": "kuangliu's pre-activation networks",
    "kuangliu_fork": "pre-activation networks of kuangliu's forks",
    "weiaicunzai": "weiaicunzai's CIFAR-100 networks",
    "osmr": "pytorchcv's CIFAR networks",
    "osmr_pre": "pytorchcv's pre-activation networks for CIFAR",
    "osmr_imagenet": "pytorchcv's ResNet",
    "transformers": "transformers' ResNet",
    "backbone": "transformers' ResNet without its classifier",
}
SMALL, LARGE = reference.images(2, 3, 16, 16), reference.images(1, 3, 32, 32)
CASES = [
    (name, bottleneck) for name in NETWORKS for bottleneck in (False, True) if (name, bottleneck) != ("xternalz", True)
]


def images(name):
    return LARGE if NETWORKS[name].deep else SMALL


def loaded(archive, project, bottleneck=False, **options):
    """The network of a file, with logits; of some projects' files the variant has to be said."""
    if project == "osmr_imagenet" and bottleneck:
        options.setdefault("name", "resnet50_v15")
    if project == "torchvision_conv3":
        options["name"] = "resnet50_conv3" if bottleneck else "resnet18_conv3"
    return reference.logits(archive, input_shape=(*images(project).shape[2:], 3), **options)


@pytest.mark.parametrize(("name", "bottleneck"), CASES)
def test_logits_equal_numpy(name, bottleneck):
    network = NETWORKS[name]
    # The second block of the first stage has no projection, the first one has, for the stem has other channels.
    counts = (1 if bottleneck else 2, *[1] * (network.stages - 1))
    arrays = network.draw(counts, 4, stem=3, bottleneck=bottleneck)
    archive = Held("torch", arrays)
    model, x = loaded(archive, name, bottleneck), images(name)
    reference.close(reference.scores(model, x), network(arrays, x))
    plan = kr.weights.plan(model, archive)
    assert plan.format == FAMILY[name]
    assert set(plan.left) == {key for key in arrays if key.endswith("num_batches_tracked")}


@pytest.mark.torch
@pytest.mark.parametrize(("name", "bottleneck"), [case for case in CASES if case[0] != "backbone"])
def test_logits_equal_torch(name, bottleneck):
    torch = pytest.importorskip("torch", reason="the reference is torch itself")
    from helpers import torch_networks

    network, counts = NETWORKS[name], (1, 2, 1, 1)[: NETWORKS[name].stages]
    net = torch_networks.build(name, counts, 8, bottleneck)
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    drawn = network.draw(counts, 8, bottleneck=bottleneck)
    assert {key: value.shape for key, value in arrays.items()} == {key: value.shape for key, value in drawn.items()}
    x = images(name)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    model = loaded(Held("torch", arrays), name, bottleneck)
    assert np.abs(reference.scores(model, x) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "backbone"])
def test_the_report_compares_with_torch(name):
    pytest.importorskip("torch", reason="the reference is torch itself")
    bottleneck = name in ("osmr", "osmr_imagenet", "transformers")
    archive = Held("torch", NETWORKS[name].draw(1, 4, bottleneck=bottleneck))
    for variant in ("resnet50", "resnet50_v15") if name == "osmr_imagenet" else (None,):
        model = loaded(archive, name, name=variant)
        found = kr.weights.parity(model, archive)
        assert found.reference == "torch"
        assert found.difference <= 1e-4 * max(1, found.scale)
        last = model.blocks[-1].residual.layers[-1]
        last.set_weights([2 * last.get_weights()[0], *last.get_weights()[1:]])
        assert kr.weights.parity(model, archive).difference > 0.01 * found.scale


# Files of the families of other tests, whose names are alike.
ALIKE = {
    "torchvision": (reference.draw_torchvision((1, 1, 1, 1), 2), "torchvision"),
    "torchvision, bottlenecks": (reference.draw_torchvision((1, 1, 1, 1), 2, True), "torchvision"),
    "akamaster": (reference.draw_akamaster(1), "akamaster's CIFAR networks"),
    "akamaster, B": (reference.draw_akamaster(1, projects=True), "akamaster's CIFAR networks"),
    "zagoruyko": (reference.draw_wide(1), "Zagoruyko's wide networks"),
    **{
        f"{name}{', bottlenecks' * bottleneck}": (NETWORKS[name].draw(1, 2, bottleneck=bottleneck), FAMILY[name])
        for name, bottleneck in CASES
    },
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_file_is_of_one_family_and_refused_by_its_neighbours(name, monkeypatch):
    arrays, family = ALIKE[name]
    for prefix in ("", "state_dict.module."):
        archive = Held("torch", {prefix + key: array for key, array in arrays.items()})
        own, _ = recognition.require_family(archive)
        assert own.name == family
    # Read as any family that finds its marks there, the file does not fit.
    for other in [family for family in recognition.FAMILIES if family.prefixes(archive)]:
        monkeypatch.setattr(recognition, "FAMILIES", (other,))
        name = "resnet50_conv3" if "bottlenecks" in name else "resnet18_conv3"
        if not other.name.startswith(family):  # a network is a backbone, too
            with pytest.raises(ArgumentError, match=r"of another network|has names of|its first unit"):
                kr.weights.network(archive, name if other.asks else None, input_shape=(32, 32, 3))


@pytest.mark.parametrize(
    ("name", "sizes", "variant"),
    [
        ("chenyaofo", {"blocks": 9, "width": 16}, "resnet56"),
        ("chenyaofo", {"blocks": 12, "width": 16, "bottleneck": True}, "resnet110bn"),
        ("bearpaw", {"blocks": 3, "width": 16}, "preresnet20"),
        ("bearpaw", {"blocks": 12, "width": 16, "bottleneck": True}, "preresnet110bn"),
        ("xternalz", {"blocks": 4, "width": 160, "stem": 16}, "wrn_28_10"),
        ("kuangliu", {"blocks": (2, 2, 2, 2), "width": 64}, "resnet18_conv3"),
        ("kuangliu", {"blocks": (3, 4, 6, 3), "width": 64, "bottleneck": True}, "resnet50_conv3"),
        ("kuangliu_pre", {"blocks": (2, 2, 2, 2), "width": 64}, "resnet18_v2_conv3"),
        ("kuangliu_fork", {"blocks": (3, 4, 6, 3), "width": 64}, "resnet34_v2_conv3"),
        ("weiaicunzai", {"blocks": (3, 4, 6, 3), "width": 64}, "resnet34_conv3"),
        ("osmr", {"blocks": 18, "width": 16, "bottleneck": True}, "resnet164bn"),
        ("osmr", {"blocks": 18, "width": 16}, "resnet110"),
        ("osmr_pre", {"blocks": 18, "width": 16, "bottleneck": True}, "preresnet164"),
        ("osmr_pre", {"blocks": 2, "width": 128, "stem": 16}, "wrn_16_8"),
        ("osmr_imagenet", {"blocks": (2, 2, 2, 2), "width": 64}, "resnet18"),
        ("transformers", {"blocks": (3, 4, 6, 3), "width": 64, "bottleneck": True}, "resnet50_v15"),
        ("transformers", {"blocks": (3, 4, 6, 3), "width": 64}, "resnet34"),
    ],
)
def test_names_and_shapes_tell_the_variant(name, sizes, variant, monkeypatch):
    built = []
    monkeypatch.setattr(kr.weights.transfer, "assemble", lambda spec, *_, **__: built.append(spec))
    monkeypatch.setattr(kr.weights.transfer, "fill", lambda *_, **__: None)
    kr.weights.network(Held("torch", NETWORKS[name].draw(**sizes, classes=7, seed=None)))
    assert (built[0].name, built[0].classes) == (variant, 7)
    # What the name means is what the file has, but for what its family says.
    fields = {key: getattr(built[0], key) for key in ("placement", "shortcut", "shared_preactivation", "stride_place")}
    named = variants.spec(variant).replace(**fields, classes=7)
    assert counting.count(built[0]).parameters == counting.count(named).parameters
    assert [stage.blocks for stage in built[0].stages] == [stage.blocks for stage in named.stages]


def test_a_stride_that_no_file_tells_is_asked_for():
    arrays = NETWORKS["osmr_imagenet"].draw((3, 4, 6, 3), 64, bottleneck=True, seed=None)
    with pytest.raises(
        ArgumentError, match=r"names and shapes of 2 networks; give the right one: 'resnet50', 'resnet50_v1"
    ):
        kr.weights.network(Held("torch", arrays))
    arrays = NETWORKS["osmr_imagenet"].draw(1, 4, bottleneck=True)
    first = Network(OsmrImagenet, 4, deep=True, first=True)
    model = loaded(Held("torch", arrays), "osmr_imagenet", name="resnet50")
    reference.close(reference.scores(model, LARGE), first(arrays, LARGE))
    # transformers' own default is the 3x3, and `downsample_in_bottleneck` is not in the file.
    arrays = NETWORKS["transformers"].draw(1, 4, bottleneck=True)
    model = loaded(Held("torch", arrays), "transformers", stride_place="first")
    reference.close(reference.scores(model, LARGE), Network(Transformers, 4, deep=True, first=True)(arrays, LARGE))


def test_a_pool_that_no_file_tells_is_asked_for():
    arrays = NETWORKS["torchvision_conv3"].draw(1, 2)
    with pytest.raises(
        ArgumentError, match=r"do not tell whether a max-pool .*Give 'resnet18_conv3' or 'resnet34_conv3'"
    ):
        kr.weights.network(Held("torch", arrays))
    model = loaded(Held("torch", arrays), "torchvision_conv3")
    assert "preprocessing not known: it differs between projects" in kr.weights.plan(model, Held("torch", arrays)).notes
    with pytest.raises(ArgumentError, match=r"needs stem 'conv3' \(it has 'conv7'\)"):
        kr.weights.load(kr.build("resnet18", (32, 32, 3), width=0.05), Held("torch", arrays))


def test_a_pre_activation_network_behind_a_deep_stem_is_refused():
    arrays = NETWORKS["osmr_pre"].draw(1, 2)
    arrays["features.init_block.conv.weight"] = arrays.pop("features.init_block.weight")
    arrays["features.init_block.bn.weight"] = arrays["features.post_activ.bn.weight"]
    with pytest.raises(ArgumentError, match="its first unit normalises once more"):
        kr.weights.network(Held("torch", arrays))


CIFAR10 = (125.307, 122.961, 113.8575, 51.5865, 50.847, 51.255)
CIFAR100 = (129.285, 124.0575, 112.4295, 68.1615, 65.382, 70.4055)


@pytest.mark.parametrize(
    ("name", "classes", "values", "said"),
    [
        ("chenyaofo", 10, CIFAR10, ""),
        ("chenyaofo", 100, CIFAR100, "preprocessing: chenyaofo's; bearpaw's networks"),
        (
            "chenyaofo",
            7,
            None,
            "preprocessing not known: chenyaofo's and bearpaw's CIFAR networks are published for 10 or",
        ),
        ("bearpaw", 100, CIFAR10, ""),
        ("xternalz", 10, None, "preprocessing not known: of pixels"),
        ("kuangliu", 10, CIFAR10, ""),
        ("kuangliu_fork", 10, None, "preprocessing not known: it differs"),
        ("weiaicunzai", 100, CIFAR100, ""),
        ("osmr", 100, CIFAR10, ""),
        ("osmr_pre", 10, CIFAR10, ""),
        ("osmr_imagenet", 3, reference.IMAGENET, ""),
        ("transformers", 3, reference.IMAGENET, ""),
    ],
)
def test_preprocessing_is_the_publishers(name, classes, values, said):
    archive = Held("torch", NETWORKS[name].draw(1, 2, classes=classes))
    network = loaded(archive, name)
    plan = kr.weights.plan(network, archive)
    assert network.preprocessing == plan.preprocessing
    found = network.preprocessing and (*network.preprocessing.mean, *network.preprocessing.std)
    assert found is None if values is None else found == pytest.approx(values)
    notes = [note for note in plan.notes if note.startswith("preprocessing")]
    assert notes == [note for note in notes if note.startswith(said or "none")]
    assert bool(notes) == bool(said)
