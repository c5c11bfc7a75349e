"""LoRA and QLoRA models by PEFT and bitsandbytes, with proof of what is engaged."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from gristmill.core.errors import MissingDataError, SettingsError, one_line
from training.arguments import LoraSettings, QloraSettings
from training.model import load_model, prepare_for_training
from training.runs import EngagementError


@dataclass(frozen=True)
class AdapterEngagement:
    """What is really engaged, as counted in the model."""

    method: str
    parameters: int  # of the base, unpacked
    trainable_parameters: int
    lora_modules: int
    base_dtype: str
    linear_4bit_modules: int
    quantized_parameters: int
    quantization: str | None
    double_quantization: bool
    bits_per_parameter: float | None  # packed weights and their constants, without the shared lookup tables
    device: str
    attention: str

    def to_plain(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def load_base(folder: Path, settings: LoraSettings) -> Any:
    """The base model, in 4 bits where the settings are QLoRA's."""
    if not isinstance(settings, QloraSettings):
        return load_model(folder, dtype=settings.precision)
    import torch
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.quantization,
        bnb_4bit_use_double_quant=settings.double_quantization,
        bnb_4bit_compute_dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[settings.compute_dtype],
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder, dtype=settings.precision, quantization_config=quantization, device_map={"": device})
    for layer in _four_bit_layers(model):
        # On processors with AVX512-BF16, bitsandbytes would repack the weights at the first evaluation: that undoes
        # double quantisation, turns to bf16 whatever the compute dtype, and fails on widths that 64 does not divide.
        layer.support_avx512bf16_for_cpu = False
    return model


def add_adapter(base: Any, settings: LoraSettings) -> Any:
    """The base, frozen, with fresh LoRA matrices.

    Raises:
        SettingsError: no layer has one of the target names.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(settings.seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",  # "all" would silently train nothing more on a model without biases
    )
    names = {name.rsplit(".", 1)[-1] for name, _ in base.named_modules()}
    missing = [target for target in settings.targets if target not in names]
    if missing:
        raise SettingsError(
            f"targets: the model has no layer named {missing[0]!r}; its layers are {_linear_names(base)}"
        )
    with _without_noise():
        model = get_peft_model(base, config)
    prepare_for_training(model)
    return model


def reload(folder: Path, adapter: Path, settings: LoraSettings) -> Any:
    """A fresh base with the adapter as it was saved."""
    model = read_adapter(load_base(folder, settings), adapter)
    model.config.use_cache = False
    return model.eval()


def read_adapter(base: Any, adapter: Path) -> Any:
    """`base` with the adapter of a PEFT folder on top; safetensors only.

    Raises:
        MissingDataError: the two do not fit.
    """
    from peft import PeftModel

    try:
        with _without_noise():
            return PeftModel.from_pretrained(base, str(adapter), local_files_only=True, use_safetensors=True)
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        raise MissingDataError(
            f"adapter {adapter} does not fit the model ({one_line(error)[:300]}): give the base it was trained on"
        ) from None


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Without what peft 0.21 draws from transformers 5.23 and bitsandbytes 0.50, which nobody here can act on."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # no `kernels` package: it says so at each import
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield


def measure_adapter(model: Any, settings: LoraSettings) -> AdapterEngagement:
    """Count what is engaged and compare it with `settings`.

    Raises:
        EngagementError: something else than LoRA matrices is trainable, or the base is not as quantised as asked.
    """
    is_quantized = isinstance(settings, QloraSettings)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    adapted = [m for m in model.modules() if hasattr(m, "lora_A") and len(m.lora_A)]
    expected = sum(settings.rank * (m.in_features + m.out_features) for m in adapted)
    count = sum(p.numel() for p in trainable.values())
    strange = [name for name in trainable if "lora_" not in name]
    if strange or count != expected or not count:
        raise EngagementError(
            f"asked for LoRA of rank {settings.rank} on {len(adapted)} layers, {expected:,} parameters, but {count:,} "
            f"are trainable{' (such as ' + strange[0] + ')' if strange else ''}: the run is stopped"
        )
    four_bit = _four_bit_layers(model) if is_quantized else []
    states = [layer.weight.quant_state for layer in four_bit]
    parameters = sum(state.shape.numel() for state in states)
    if isinstance(settings, QloraSettings):
        kinds = {(state.quant_type, bool(state.nested)) for state in states}
        if kinds != {(settings.quantization, settings.double_quantization)}:
            raise EngagementError(
                f"asked for {settings.quantization}, double quantisation {settings.double_quantization}, but the "
                f"{len(four_bit)} 4-bit layers are {sorted(kinds)}: the run is stopped"
            )
    plain = [p for n, p in model.named_parameters() if "lora_" not in n and type(p).__name__ != "Params4bit"]
    return AdapterEngagement(
        method="qlora" if is_quantized else "lora",
        parameters=sum(p.numel() for p in plain) + parameters,
        trainable_parameters=count,
        lora_modules=len(adapted),
        base_dtype=str(plain[0].dtype).removeprefix("torch."),
        linear_4bit_modules=len(four_bit),
        quantized_parameters=parameters,
        quantization=states[0].quant_type if states else None,
        double_quantization=bool(states) and all(state.nested for state in states),
        bits_per_parameter=round(sum(map(_bits, four_bit)) / parameters, 4) if four_bit else None,
        device=next(model.parameters()).device.type,
        attention=str(model.config._attn_implementation),
    )


def _four_bit_layers(model: Any) -> list[Any]:
    from bitsandbytes.nn.modules import Linear4bit

    return [m for m in model.modules() if isinstance(m, Linear4bit)]


def _bits(layer: Any) -> int:
    """Bits of a layer's packed weights and of the constants that scale each block of them."""
    state = layer.weight.quant_state
    tensors = [layer.weight.data, state.absmax]
    if state.nested:
        tensors.append(state.state2.absmax)
    return sum(8 * t.numel() * t.element_size() for t in tensors)


def _linear_names(model: Any) -> str:
    import torch

    linear = (n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear))
    return ", ".join(sorted(cast(set[str], set(linear))))
