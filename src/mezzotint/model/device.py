"""Which device, and how precise?"""

import torch
from torch import nn

from mezzotint.errors import ConfigError

# What torch may be held to on hardware that has more, as by ATEN_CPU_CAPABILITY=avx2: there bfloat16 is emulated. On ARM
# "DEFAULT" is the ordinary name.
WITHOUT_BF16 = ("DEFAULT", "NO AVX", "AVX2")


def find_device(wanted: str = "auto") -> torch.device:
    """The device of that name, or the best available: cuda, mps, cpu. Raises ConfigError where it is not available."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(
            f"device {wanted!r} cannot be used here; leave it out to use the best one available"
        ) from error
    return device


def place(net: nn.Module, device: torch.device) -> nn.Module:
    """Moves a network to its device. On CUDA its convolutions are channels last, which is what tensor cores read; on a
    CPU that is slower."""
    net = net.to(device)
    return net.to(memory_format=torch.channels_last) if device.type == "cuda" else net  # type: ignore[call-overload]


def find_precision(wanted: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16. auto: bfloat16 where the hardware multiplies it; elsewhere it is several times slower."""
    if wanted not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision must be auto, fp32 or bf16, not {wanted!r}")
    if wanted == "fp32":
        return torch.float32
    if wanted == "bf16" or _has_bf16(device):
        return torch.bfloat16
    return torch.float32


def kind_of(device: torch.device) -> str:
    """The device in words, as far as it decides speed: a GPU's name, or the widest instructions of a processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    capability = torch.backends.cpu.get_cpu_capability()
    if not _has_bf16(device):
        return f"cpu with {capability}, without bfloat16"
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return f"cpu with {capability} and {'AMX' if amx else 'bfloat16'}"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        if torch.backends.cpu.get_cpu_capability() in WITHOUT_BF16:
            return False
        asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of x86; false on ARM
        return any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
    return False
