"""The scripts in `benchmarks`: they run, and their tables are of what they measured."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import keras_resnets as kr

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.backends
def test_the_benchmark_of_a_gpu_runs_on_a_cpu(tmp_path):
    """Its network is ours by its counts, it trains on the data it is given, and started again, it is done."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed here; make test-jax runs it")
    command = [sys.executable, SCRIPTS / "gpu.py", "--tiny", "--out", tmp_path, "--together", "2"]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = {tuple(row["key"]): row for row in json.loads((tmp_path / "throughput.json").read_text())}
    products = {("product", precision) for precision in ("float32", "bfloat16")}
    ours = {("ours", "resnet8", mode, precision) for mode in ("train", "predict") for _, precision in products}
    assert products | ours <= rows.keys()
    network = kr.build("resnet8", (8, 8, 3))
    for key in ours:
        assert min(rows[key]["rates"]) > 0
        assert rows[key]["macs"] == kr.macs(network)
        assert rows[key]["parameters"] == kr.parameters(network)
    training = json.loads((tmp_path / "runs" / "resnet8_0" / "training.json").read_text())
    assert training["epochs"] == 2
    assert kr.load_model(tmp_path / "runs" / "resnet8_0" / "model.keras").input_shape[1:] == (8, 8, 3)
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tables = [
        [line for line in said.splitlines() if line.startswith(("resnet8", "products"))] for said in (first, again)
    ]
    assert tables[0] == tables[1]  # from what was kept
    assert len(tables[0]) == 7
    assert "ours resnet8 train float32" in first
    assert "ours resnet8 train float32" not in again


def test_the_exponent_of_a_curve_is_that_of_its_last_points():
    specification = importlib.util.spec_from_file_location("growth", SCRIPTS / "growth.py")
    growth = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(growth)
    values = [10, 100, 1000, 10_000]
    assert growth.exponent(values, [7.0, *(3 * v**1.5 for v in values[1:])]) == pytest.approx(1.5)
    assert growth.exponent([10, 20], [3, 12]) == pytest.approx(2)


@pytest.mark.thorough
def test_a_curve_of_growth_is_measured_and_kept(tmp_path):
    command = [sys.executable, SCRIPTS / "growth.py", "--quick", "--only", "search, restoring", "--out"]
    command.append(tmp_path / "points")
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    points = [json.loads(line) for line in (tmp_path / "points").read_text().splitlines()]
    assert [(point["curve"], point["value"]) for point in points] == [("search, restoring", n) for n in (10, 100)]
    assert all(point["seconds"] > 0 for point in points)
    assert first[2].split()[:3] == ["search,", "restoring", "1"]
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert again == first
