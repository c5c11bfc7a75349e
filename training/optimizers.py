"""The optimizer by its setting: torch's AdamW, or one of bitsandbytes', which is imported only when asked for.

8 bits: Dettmers et al. 2022, arXiv 2110.02861. Paged: Dettmers et al. 2023 (QLoRA), arXiv 2305.14314, section 3.
"""

import logging
from typing import Any

import torch

from gristmill.core.errors import SettingsError
from training.arguments import PretrainSettings
from training.memory import Optimizer
from training.model import weight_decay_groups

CLASSES: dict[Optimizer, str] = {
    "adamw": "AdamW",
    "adamw_8bit": "AdamW8bit",
    "paged_adamw": "PagedAdamW32bit",
    "paged_adamw_8bit": "PagedAdamW8bit",
}
SMALLEST_QUANTISED = 4096  # elements: bitsandbytes' min_8bit_size, under which it holds moments in fp32


def require_device(settings: PretrainSettings, device: torch.device) -> None:
    """Refuse an optimizer that this device can't run.

    Raises:
        SettingsError: paged memory without CUDA.
    """
    if settings.optimizer.startswith("paged") and device.type != "cuda":
        other = settings.optimizer.removeprefix("paged_")
        raise SettingsError(f"optimizer {settings.optimizer} needs a CUDA GPU, and here is none: choose {other}")


def make_optimizer(module: Any, settings: PretrainSettings, *, is_fused: bool) -> torch.optim.Optimizer:
    """The optimizer that the settings ask for, over the parameters of `module`."""
    return optimizer_over(weight_decay_groups(module, settings.weight_decay), settings, is_fused=is_fused)


def optimizer_over(groups: list[dict[str, Any]], settings: PretrainSettings, *, is_fused: bool) -> Any:
    """As `make_optimizer`, over parameter groups; `is_fused` is torch's."""
    given: dict[str, Any] = {
        "lr": 0.0,  # set before each step; DeepSpeed's 16-bit optimizers make one with no gradient at their start
        "betas": (settings.beta1, settings.beta2),
    }
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=is_fused, **given)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # no `kernels` package: it says so at each import
    import bitsandbytes

    return getattr(bitsandbytes.optim, CLASSES[settings.optimizer])(groups, min_8bit_size=SMALLEST_QUANTISED, **given)
