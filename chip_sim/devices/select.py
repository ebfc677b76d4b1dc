"""The device model that a spec names."""

from chip_sim.devices.device import DeviceModel, PerfectDevice
from chip_sim.devices.hermes import HermesDevice
from chip_sim.devices.pcm import PcmDevice
from chip_sim.devices.reram import ReramDevice
from chip_sim.spec import DeviceSpec


def device_model(spec: DeviceSpec) -> DeviceModel:
    """Return the model of a chip's cells."""
    match spec.model:
        case "none":
            return PerfectDevice()
        case "pcm":
            return PcmDevice(spec.g_max, spec.programming_scale)
        case "hermes":
            return HermesDevice(spec.g_max, spec.programming_scale)
        case "reram":
            return ReramDevice(spec.g_max, spec.programming_scale)
