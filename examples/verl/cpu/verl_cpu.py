"""verl on processors: a platform, its training engine and a sampler, registered from outside of verl 0.9.1.

    VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=verl_cpu,softmax_rewards.integrations.verl_plugin

verl's own trainer then runs without a GPU: its FSDP engine with gloo, and the sampler of `verl_cpu_sampler` beside each
worker. This is slow and meant to try a launch out. Reference models, critics, LoRA and images were not tried.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import psutil
import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry
from verl.utils import distributed

SAMPLER = "transformers"  # `actor_rollout_ref.rollout.name`


def _device_module() -> ModuleType:
    """`torch.cpu` with the functions of `torch.cuda` that verl calls on every device."""
    module = ModuleType("torch_cpu")
    vars(module).update(vars(torch.cpu))
    vars(module).update(
        is_available=lambda: False,  # verl takes True to mean that the device has a memory of its own
        empty_cache=lambda: None,
        get_device_name=lambda: "CPU",
        mem_get_info=lambda *_: (psutil.virtual_memory().available, psutil.virtual_memory().total),
    )
    measured = ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved")
    vars(module).update(dict.fromkeys(measured, lambda *_: psutil.Process().memory_info().rss))
    return module


@PlatformRegistry.register(platform="cpu")
class CPU(PlatformBase):
    """The processor as verl's device. Ray hands out GPUs that are not there, one per worker."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _device_module()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"  # verl moves tensors to what this returns; a number would mean a CUDA device

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    profiler_stop = profiler_start

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


# verl would name gloo twice, for the processor and for the device, and PyTorch refuses that. verl's workers are
# imported after this module, so they take the function from here.
distributed.initialize_global_process_group_ray = functools.partial(
    distributed.initialize_global_process_group_ray, backend="cpu:gloo"
)


def _register() -> None:
    # These modules ask for the platform when they are imported.
    from verl.workers.engine.base import EngineRegistry
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
    from verl.workers.rollout import base, replica

    def sampler() -> type[replica.RolloutReplica]:
        from verl_cpu_sampler import Replica

        return Replica

    EngineRegistry.register(model_type="language_model", backend="fsdp2", device="cpu")(FSDPEngineWithLMHead)
    replica.RolloutReplicaRegistry.register(SAMPLER, sampler)
    base._ROLLOUT_REGISTRY[SAMPLER, "async"] = "verl_cpu_sampler.Sender"


_register()
