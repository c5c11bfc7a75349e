"""The model: transformers' Llama class at our sizes, and its loss over packed documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from training.arguments import PretrainSettings
from training.loader import IGNORED_LABEL
from training.sizes import ModelSizes

if TYPE_CHECKING:
    import torch
    from transformers import LlamaConfig, PreTrainedModel

INITIAL_STD = 0.02  # of every matrix at the start (GPT-2, LLaMA)


def llama_config(sizes: ModelSizes, vocabulary: int, sequence_length: int, eot_id: int, pad_id: int) -> "LlamaConfig":
    """The configuration written beside the weights."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.ffn,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=sequence_length,
        tie_word_embeddings=sizes.is_tied,
        initializer_range=INITIAL_STD,
        bos_token_id=eot_id,  # a document begins after the end of another
        eos_token_id=eot_id,
        pad_token_id=pad_id,
    )
    config._attn_implementation = "sdpa"
    return config


def new_model(config: "LlamaConfig", seed: int) -> "PreTrainedModel":
    """A model with random weights, the same for the same seed on every rank."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    prepare_for_training(model)
    return cast("PreTrainedModel", model)


def model_for(settings: PretrainSettings, vocabulary: int, sequence_length: int, eot_id: int, pad_id: int) -> Any:
    """The model that `settings` name: a checkpoint to go on from, or random weights of an architecture and size.

    Raises:
        SettingsError: transformers has no such architecture, or the checkpoint is of another vocabulary.
        MissingDataError: the checkpoint can't be read.
    """
    if settings.base_model:
        model: Any = load_model(Path(settings.base_model))
        rows = model.get_input_embeddings().weight.shape[0]
        if rows < vocabulary:
            raise SettingsError(
                f"base_model {settings.base_model} has {rows:,} token embeddings, the mixture's tokenizer "
                f"{vocabulary:,} tokens: make the shards with the model's own tokenizer"
            )
        prepare_for_training(model)
        return model
    if settings.architecture == "llama":
        return new_model(llama_config(settings.sizes, vocabulary, sequence_length, eot_id, pad_id), settings.seed)
    return _new_model_of(settings, vocabulary, sequence_length, eot_id, pad_id)


def _new_model_of(settings: PretrainSettings, vocabulary: int, sequence_length: int, eot_id: int, pad_id: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    llama = llama_config(settings.sizes, vocabulary, sequence_length, eot_id, pad_id).to_dict()
    names = ("architectures", "model_type", "transformers_version", "rope_parameters", "head_dim")
    try:
        config = AutoConfig.for_model(settings.architecture, **{k: v for k, v in llama.items() if k not in names})
        config._attn_implementation = "sdpa"
        torch.manual_seed(settings.seed)
        model: Any = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"architecture {settings.architecture!r} can't be made by transformers with these sizes "
            f"({' '.join(str(error).split())[:150]}): choose llama, mistral, qwen2, ..."
        ) from None
    prepare_for_training(model)
    return model


def prepare_for_training(model: Any) -> None:
    """No key-value cache: besides costing memory, it makes transformers drop the isolation of packed documents."""
    model.config.use_cache = False
    model.train()


def load_model(folder: Path, *, dtype: str = "fp32", **options: Any) -> "PreTrainedModel":
    """Read a Hugging Face folder from this disk; safetensors only, no remote code.

    Raises:
        MissingDataError: the folder is not there or holds no such model.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it writes a line a tensor where there is no terminal
    if not (folder / "config.json").is_file():
        raise MissingDataError(f"{folder} is not a model folder (no config.json in it): give a final/ folder")
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            dtype=dtypes[dtype],
            **options,
        )
    except (OSError, ValueError, KeyError) as error:
        raise MissingDataError(f"{folder} can't be read as a model: {' '.join(str(error).split())}") from None


def loss_sum(model: Any, batch: "dict[str, torch.Tensor]") -> "torch.Tensor":
    """Summed cross-entropy in nats over every labelled token but each row's first, a scalar in fp32.

    Args:
        model: takes input_ids and position_ids, returns logits of shape (rows, length, vocabulary).
        batch: input_ids, labels (not shifted; IGNORED_LABEL where nothing is learnt) and position_ids, each of
            shape (rows, length). position_ids start again at every document and are all that keeps documents
            apart: an attention mask would undo it.
    """
    from torch.nn import functional

    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
    return functional.cross_entropy(
        logits[:, :-1].float().reshape(-1, logits.shape[-1]),
        batch["labels"][:, 1:].reshape(-1),
        ignore_index=IGNORED_LABEL,
        reduction="sum",
    )


def labelled_tokens(labels: Any) -> int:
    """How many tokens `loss_sum` adds up; labels of shape (rows, length), numpy or torch."""
    return int((labels[:, 1:] != IGNORED_LABEL).sum())


def weight_decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: matrices decay, norms and biases do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
