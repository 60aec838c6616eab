"""GPUs of this machine through NVML, and simulated figures for missing GPUs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from lk_jupyter.localcloud.billing.catalogue import is_gpu

Figures = dict[str, float]


@cache
def _load_nvml() -> Any | None:
    """Return the NVML library if this machine has NVML and a GPU, else None."""
    try:
        import pynvml  # type: ignore[import-untyped] # noqa: PLC0415 (loaded when a GPU is first asked for)

        pynvml.nvmlInit()
        return pynvml if pynvml.nvmlDeviceGetCount() else None
    except Exception:  # noqa: BLE001 (no library, no driver, no card: all mean no GPU)
        return None


def available() -> bool:
    """Whether this machine has a GPU."""
    return _load_nvml() is not None


def format_gpu_note(profile: str, *, simulated: bool) -> str | None:
    """Return a note about a GPU profile on a machine without a GPU; None otherwise."""
    if not is_gpu(profile) or available():
        return None
    figures = " Its GPU figures are simulated." if simulated else ""
    return (
        f"No GPU on this machine: a run on {profile} uses the CPU here, and is billed at the price of "
        f"{profile}.{figures}"
    )


def read_figures() -> Figures:
    """Return the present figures of all GPUs together; empty without a GPU or figures."""
    nvml = _load_nvml()
    if nvml is None:
        return {}
    figures_by_name: Figures = {}
    for name, (merge, read) in _SERIES.items():
        with suppress(nvml.NVMLError):  # not every GPU reports every figure
            cards = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
            figures_by_name[name] = merge([read(nvml, card) for card in cards])
    return figures_by_name


def simulate_figures(load: float) -> Figures:
    """Return made-up figures of a GPU that is as busy as the run's CPU; ``load`` is 0 to 1."""
    return {
        "gpuUtilizationPercent": round(100 * load, 1),
        "gpuMemoryUtilizationPercent": round(10 + 40 * load, 1),
        "gpuTemperatureCelsius": round(35 + 35 * load, 1),
        "gpuPowerWatt": round(60 + 240 * load, 1),
        "gpuPowerLimitWatt": 350.0,
        "gpuClockSmMhz": round(600 + 1200 * load),
        "gpuClockMemMhz": 9001.0,
        "gpuPcieThroughputRxBytesPerSec": round(2e8 * load),
        "gpuPcieThroughputTxBytesPerSec": round(5e7 * load),
    }


def _compute_mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _read_memory_percent(nvml: Any, card: Any) -> float:
    memory = nvml.nvmlDeviceGetMemoryInfo(card)
    return float(100 * memory.used / memory.total)


#: Series → how several GPUs are merged into a figure, and the NVML call for a GPU.
_SERIES: dict[str, tuple[Callable[[list[float]], float], Callable[[Any, Any], float]]] = {
    "gpuUtilizationPercent": (_compute_mean, lambda nvml, card: nvml.nvmlDeviceGetUtilizationRates(card).gpu),
    "gpuMemoryUtilizationPercent": (_compute_mean, _read_memory_percent),
    "gpuTemperatureCelsius": (max, lambda nvml, card: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
    "gpuPowerWatt": (sum, lambda nvml, card: nvml.nvmlDeviceGetPowerUsage(card) / 1000),
    "gpuPowerLimitWatt": (sum, lambda nvml, card: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000),
    "gpuClockSmMhz": (_compute_mean, lambda nvml, card: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
    "gpuClockMemMhz": (_compute_mean, lambda nvml, card: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
    "gpuPcieThroughputRxBytesPerSec": (
        sum,
        lambda nvml, card: 1024 * nvml.nvmlDeviceGetPcieThroughput(card, nvml.NVML_PCIE_UTIL_RX_BYTES),
    ),
    "gpuPcieThroughputTxBytesPerSec": (
        sum,
        lambda nvml, card: 1024 * nvml.nvmlDeviceGetPcieThroughput(card, nvml.NVML_PCIE_UTIL_TX_BYTES),
    ),
}
