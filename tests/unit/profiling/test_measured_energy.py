"""Measured energy with a made-up sysfs tree and a made-up NVML."""

import sys
import types

import pytest

from snnfer.errors import ConfigError, SnnferError
from snnfer.profiling import measure_energy, measured

RANGE_UJ = 262_143_328_850


def make_domain(root, name, label, energy_uj, range_uj=RANGE_UJ):
    domain = root / name
    domain.mkdir()
    (domain / "name").write_text(label + "\n")
    (domain / "energy_uj").write_text(f"{energy_uj}\n")
    (domain / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return domain


def test_packages_add_up_and_their_parts_do_not(tmp_path):
    first = make_domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = make_domain(tmp_path, "intel-rapl:1", "package-1", 1_000_000)
    core = make_domain(tmp_path, "intel-rapl:0:0", "core", 1)
    platform = make_domain(tmp_path, "intel-rapl:2", "psys", 1)
    again = make_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    with measure_energy(powercap=tmp_path) as energy:
        for domain, value in ((first, 7_500_000), (second, 1_250_000)):
            (domain / "energy_uj").write_text(str(value))
        for domain in (core, platform, again):
            (domain / "energy_uj").write_text("900000000")
    assert energy.joules == pytest.approx(2.75)
    assert energy.source == "RAPL package-0, package-1"
    assert energy.seconds > 0
    assert energy.watts == pytest.approx(2.75 / energy.seconds)


def test_a_counter_that_starts_again_is_put_right(tmp_path):
    domain = make_domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    with measure_energy(powercap=tmp_path) as energy:
        (domain / "energy_uj").write_text("2000000")
    assert energy.joules == pytest.approx(3.0)


def test_energy_is_known_after_an_error_too(tmp_path):
    domain = make_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = measure_energy(powercap=tmp_path)
    energy = meter.__enter__()
    (domain / "energy_uj").write_text("4000000")
    assert not meter.__exit__(ValueError, ValueError("failed work"), None)
    assert energy.joules == 4.0


def test_without_counters_there_is_one_sentence(tmp_path):
    with (
        pytest.raises(SnnferError, match="no energy can be measured here.*virtual machine or container"),
        measure_energy(powercap=tmp_path / "missing"),
    ):
        pass


def test_a_counter_that_may_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    make_domain(tmp_path, "intel-rapl:0", "package-0", 0)

    def refuse(files):
        raise PermissionError(13, "Permission denied", str(files[0]))

    monkeypatch.setattr(measured, "_read_all", refuse)  # root reads everything, so that a real file cannot refuse
    with pytest.raises(SnnferError, match="may not be read.*only root"), measure_energy(powercap=tmp_path):
        pass


@pytest.fixture
def nvml(monkeypatch):
    module = types.ModuleType("pynvml")
    module.NVMLError = type("NVMLError", (Exception,), {})
    module.millijoules = 1000
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: index

    def read(handle):
        if handle:
            raise module.NVMLError("Not Supported")
        return module.millijoules

    module.nvmlDeviceGetTotalEnergyConsumption = read
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def test_a_gpu_counts_millijoules(nvml):
    with measure_energy("cuda") as energy:
        nvml.millijoules += 2500
    assert (energy.joules, energy.source) == (2.5, "NVML GPU 0")


def test_a_gpu_without_counter_is_one_sentence(nvml):
    with pytest.raises(SnnferError, match=r"no energy counter of GPU 1 \(Not Supported\)"), measure_energy("cuda:1"):
        pass


def test_without_nvml_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(SnnferError, match="pip install nvidia-ml-py"), measure_energy("cuda"):
        pass


def test_another_device_is_one_sentence():
    with pytest.raises(ConfigError, match="no energy counter for the device 'mps'"), measure_energy("mps"):
        pass
