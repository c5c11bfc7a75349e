"""What pretraining minimises, as a module: an engine that shards a module then sees every use of its weights."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from training import attention
from training.arguments import PretrainSettings
from training.fused_loss import IGNORED_LABEL, LossHead

# Settings of architectures that do something to the logits that a plain product of the hidden states does not.
_LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class Objective(nn.Module):
    """The summed next-token loss of a transformers causal language model over packed documents.

    Args:
        model: the model; its output layer is made to return the loss without the logits, where it is a plain one.
        is_varlen: attend within documents by their boundaries rather than by a mask.
    """

    def __init__(self, model: Any, *, is_varlen: bool) -> None:
        super().__init__()
        self.model = model
        self.is_varlen = is_varlen
        self.loss_kernel = "chunked" if _make_head_return_the_loss(model) else "logits"

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
        """Summed cross-entropy in nats over every labelled token but each row's first, a scalar in fp32.

        Args:
            input_ids: (rows, length).
            position_ids: (rows, length), starting again at every document; they alone keep documents apart.
            labels: (rows, length), not shifted; IGNORED_LABEL where nothing is learnt.
        """
        options: dict[str, Any] = {}
        if self.is_varlen:
            options = {"cu_seqlens": attention.boundaries(position_ids), "max_seqlen": position_ids.shape[1]}
        decoder = self.model.base_model
        hidden = decoder(input_ids=input_ids, position_ids=position_ids, use_cache=False, **options).last_hidden_state
        # Shifted labels rather than a shifted slice of the hidden states, which would be copied.
        targets = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED_LABEL)
        if self.loss_kernel == "chunked":
            return cast(Tensor, self.model.get_output_embeddings()(hidden, targets))
        logits = self.model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False, **options
        ).logits  # its own way from hidden states to logits
        return nn.functional.cross_entropy(
            logits.float().reshape(-1, logits.shape[-1]),
            targets.reshape(-1),
            ignore_index=IGNORED_LABEL,
            reduction="sum",
        )

    def generate(self, *args: Any, **kwargs: Any) -> Tensor:
        """As the model's own; layers run eagerly, since every length would be compiled anew."""
        with torch.compiler.set_stance("force_eager"):
            return cast(Tensor, self.model.generate(*args, **kwargs))

    @property
    def layers(self) -> list[nn.Module]:
        """The decoder layers."""
        return list(cast(nn.ModuleList, self.model.base_model.layers))


def make_objective(model: Any, settings: PretrainSettings, device: torch.device) -> Objective:
    """Put `model` on `device` with the attention, recomputation and compilation that the settings ask for."""
    kernel = attention.kernel(settings.attention, device, settings.precision)
    if kernel:
        model.set_attn_implementation(kernel)
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.to(device)
    objective = Objective(model, is_varlen=kernel is not None)
    if settings.compile:
        for layer in objective.layers:  # each by itself: one graph for all of them, and engines may hook in between
            layer.compile()
    return objective


def _make_head_return_the_loss(model: Any) -> bool:
    """Whether the output layer is a plain product, which then is made a LossHead in place."""
    head: Any = model.get_output_embeddings()
    is_plain = type(head) is nn.Linear and getattr(head, "bias", None) is None
    is_plain &= all(getattr(model.config, name, None) in (None, 1, 1.0) for name in _LOGIT_SETTINGS)
    if is_plain:
        head.__class__ = LossHead  # the same weights, tied or not
    return is_plain
