"""Every setting of the training side, one frozen dataclass per asset; imports no heavy library.

A settings file holds them under training_plan, pretrained_model, instruction_dataset, lora_adapter and
qlora_adapter. Fields are flat, so that the Dagster form made from them is readable. 0 means "derive it"
wherever a field says so.
"""

from dataclasses import dataclass
from typing import Literal

from gristmill.core.settings import beside_settings_file
from training.memory import Optimizer
from training.sizes import ModelSizes, sizes_of

Precision = Literal["fp32", "bf16"]
TrainingPrecision = Literal["fp32", "bf16", "fp16"]
Strategy = Literal["single", "ddp", "zero1", "zero2", "zero3", "fsdp2"]
Attention = Literal["auto", "sdpa", "varlen", "flash2", "flash4"]
Schedule = Literal["cosine", "wsd"]


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise ValueError(message)


def _require_place(optimizer: Optimizer, *, is_offloaded: bool) -> None:
    _require(
        not is_offloaded or optimizer == "adamw",
        f"offload goes with optimizer adamw, not {optimizer}: leave one of the two out",
    )


def _is_word(name: str) -> bool:
    """Whether a name holds nothing that a shell or an option parser would act on."""
    return not name.startswith("-") and all(c.isalnum() or c in "._:-" for c in name)


@dataclass(frozen=True)
class PretrainSettings:
    """How `pretrained_model` is trained; the sequence length comes from the mixture."""

    # Preset of training/sizes.py: tiny (4.3 M with 4,096 tokens), small, medium, tinyllama-1.1b, llama2-7b, ...
    model: str = "tiny"
    # Continue from this Hugging Face folder instead of random weights; the mixture must be of its tokenizer.
    base_model: str = ""
    # Architecture, by transformers' model type: llama, mistral, qwen2, qwen3, ...; sizes go where it has them.
    architecture: str = "llama"
    # Decoder layers; 0: the preset's. So for the four sizes that follow.
    layers: int = 0
    # Width of the residual stream.
    hidden: int = 0
    # Attention heads.
    heads: int = 0
    # Key-value heads (grouped-query attention); 0 with `heads` given: as many as heads.
    kv_heads: int = 0
    # Inner width of the feed-forward block.
    ffn: int = 0
    # Optimizer steps; 0: as many as `tokens` needs.
    steps: int = 300
    # Tokens to train on where `steps` is 0; both 0: 20 per parameter (Hoffmann et al. 2022).
    tokens: int = 0
    # Sequences per optimizer step, over all ranks.
    global_batch_size: int = 8
    # Sequences per forward pass of one rank; the rest is gradient accumulation. 0: no accumulation.
    micro_batch_size: int = 0
    # Peak learning rate; for the tiny model, larger ones want less.
    learning_rate: float = 3e-3
    # Steps of linear warm-up; 0: none.
    warmup_steps: int = 20
    # After the warm-up: cosine (LLaMA), or wsd: constant, then a linear decay at the end (Hu et al. 2024, MiniCPM).
    schedule: Schedule = "cosine"
    # Share of the steps that wsd decays over.
    decay_ratio: float = 0.1
    # The schedule ends at this share of the peak (0.1 in GPT-3 and LLaMA).
    min_lr_ratio: float = 0.1
    # Decoupled weight decay on matrices, not on norms (LLaMA: 0.1).
    weight_decay: float = 0.1
    # AdamW's decay of the first moment.
    beta1: float = 0.9
    # AdamW's decay of the second moment (LLaMA: 0.95).
    beta2: float = 0.95
    # adamw: torch's, moments in fp32. Of bitsandbytes: adamw_8bit, moments in 8 bits by blocks of 256, 6 bytes a
    # parameter less (Dettmers et al. 2022); paged_adamw and paged_adamw_8bit, moments in memory that moves to the host
    # where the GPU's does not suffice (Dettmers et al. 2023), on CUDA only.
    optimizer: Optimizer = "adamw"
    # Gradients are scaled down to this global norm; 0: never.
    gradient_clip: float = 1.0
    # single and ddp replicate everything; zero1 shards the optimizer, zero2 the gradients too, zero3 the weights too
    # (all DeepSpeed); fsdp2 shards all three by torch's fully_shard.
    strategy: Strategy = "zero1"
    # Keep optimizer and fp32 master weights in host memory, for zero1 to zero3: slower, 12 bytes a parameter less.
    offload: bool = False
    # Processes, over all nodes: CPU ranks over gloo, or one per GPU over nccl.
    ranks: int = 1
    # Who starts the ranks: local (child processes), torchrun, deepspeed (over the hosts of a hostfile), or one that an
    # installed package offers (docs/multi-node.md). Several machines need the same root on a file system they share.
    launcher: str = "local"
    # DeepSpeed's hostfile, lines of `HOST slots=N` that add up to `ranks`; empty: this machine.
    hostfile: str = beside_settings_file()
    # Machines that torchrun runs on; each has as many ranks.
    nodes: int = 1
    # Address of the first node; empty: this machine, or what DeepSpeed's launcher finds out.
    master_address: str = ""
    # Port there that ranks of the launchers torchrun and deepspeed meet at; it takes connections from other machines.
    master_port: int = 29500
    # Network interface that ranks of those launchers use; empty: GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME decide.
    network_interface: str = ""
    # Names of environment variables that ranks are given though they look like secrets; their values are kept nowhere.
    environment: tuple[str, ...] = ()
    # Seconds within which all ranks have to be there.
    join_seconds: float = 300.0
    # Arithmetic; bf16 and fp16 keep fp32 master weights in the optimizer, fp16 scales the loss too.
    precision: TrainingPrecision = "fp32"
    # fp16: the loss scale begins at 2 to this power and halves at each overflow (Micikevicius et al. 2018).
    loss_scale_power: int = 16
    # fp16: steps without overflow after which the scale doubles.
    loss_scale_window: int = 1000
    # varlen: flash attention within each document, on CUDA in 16 bits: flash4 (the extra `flash`; Hopper and newer)
    # where it is installed, else flash2 (torch's own); sdpa: transformers' mask; auto: varlen where it runs.
    attention: Attention = "auto"
    # Compile each decoder layer by torch.compile; a minute at the start, then far faster on a GPU.
    compile: bool = False
    # Recompute activations in the backward pass: less memory, about a third more arithmetic.
    activation_checkpointing: bool = False
    # Before anything starts: refuse a run whose predicted memory this machine does not have, only warn, or do not look.
    memory_check: Literal["refuse", "warn", "off"] = "refuse"
    # Decides initial weights and the order of the data.
    seed: int = 0
    # Steps between checkpoints; 0: only when told to stop.
    checkpoint_every: int = 100
    # How many checkpoints are kept; 2 leaves one to fall back to.
    keep_checkpoints: int = 2
    # Steps between held-out evaluations; 0: at the first and last step only.
    evaluate_every: int = 100
    # Sequences per held-out evaluation.
    evaluate_sequences: int = 64
    # Steps between sample texts; 0: at the first and last step only.
    sample_every: int = 100
    # What the samples continue.
    sample_prompts: tuple[str, ...] = ("Once upon a time", "The")
    # Tokens per sample.
    sample_tokens: int = 48
    # The run stops where the loss is this many times the mean of the last 50 steps; 0: only where it is not finite.
    spike_factor: float = 3.0
    # What then: stop, or rewind to the last checkpoint and skip the batches since and as many again (PaLM, Chowdhery
    # et al. 2022, section 5.1, skipped 200 to 500).
    on_divergence: Literal["stop", "rewind"] = "stop"
    # Rewinds after which the run stops all the same.
    most_rewinds: int = 3

    def __post_init__(self) -> None:
        _ = self.sizes
        _require(self.steps >= 0, f"steps is {self.steps}; give 0 or more")
        _require(self.tokens >= 0, f"tokens is {self.tokens}; give 0 or more")
        _require(not (self.steps and self.tokens), "give steps or tokens, and the other as 0")
        _require(self.ranks >= 1, f"ranks is {self.ranks}; give at least 1")
        _require(self.strategy != "single" or self.ranks == 1, f"strategy single is one rank, not {self.ranks}")
        _require(
            not self.offload or self.strategy in ("zero1", "zero2", "zero3"),
            f"offload goes with zero1, zero2 or zero3, not {self.strategy}",
        )
        _require_place(self.optimizer, is_offloaded=self.offload)
        _require(self.nodes >= 1, f"nodes is {self.nodes}; give at least 1")
        _require(self.nodes == 1 or self.launcher == "torchrun", "nodes goes with launcher torchrun")
        _require(self.ranks % self.nodes == 0, f"ranks {self.ranks} does not divide over {self.nodes} nodes")
        _require(self.nodes == 1 or bool(self.master_address), "several nodes need master_address, the first one's")
        _require(not self.hostfile or self.launcher == "deepspeed", "hostfile goes with launcher deepspeed")
        _require(0 < self.master_port < 65536, f"master_port is {self.master_port}; give 1 to 65535")
        _require(self.join_seconds > 0, f"join_seconds is {self.join_seconds:g}; give more than 0")
        for name in (self.master_address, self.network_interface, *self.environment):
            _require(_is_word(name), f"{name!r} is no name of a host, an interface or an environment variable")
        _require(0 <= self.loss_scale_power <= 32, f"loss_scale_power is {self.loss_scale_power}; give 0 to 32")
        _require(self.loss_scale_window >= 1, f"loss_scale_window is {self.loss_scale_window}; give at least 1")
        _require(0 < self.decay_ratio <= 1, f"decay_ratio is {self.decay_ratio}; give a share above 0, at most 1")
        _require(self.most_rewinds >= 1, f"most_rewinds is {self.most_rewinds}; give at least 1")
        _require(self.global_batch_size >= 1, f"global_batch_size is {self.global_batch_size}; give at least 1")
        _require(
            self.global_batch_size % self.ranks == 0,
            f"global_batch_size {self.global_batch_size} does not divide over {self.ranks} ranks",
        )
        _require(self.micro_batch_size >= 0, f"micro_batch_size is {self.micro_batch_size}; give 0 or more")
        _require(
            self.sequences_per_rank % (self.micro_batch_size or 1) == 0,
            f"global_batch_size / ranks is {self.sequences_per_rank}, no multiple of micro_batch_size "
            f"{self.micro_batch_size}",
        )
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; give a positive number")
        _require(self.warmup_steps >= 0, f"warmup_steps is {self.warmup_steps}; give 0 or more")
        _require(0 <= self.min_lr_ratio <= 1, f"min_lr_ratio is {self.min_lr_ratio}; give 0 to 1")
        _require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; give 0 or more")
        _require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "beta1 and beta2 lie between 0 and 1")
        _require(self.gradient_clip >= 0, f"gradient_clip is {self.gradient_clip}; give 0 or more")
        _require(self.keep_checkpoints >= 1, f"keep_checkpoints is {self.keep_checkpoints}; give at least 1")
        for name in ("checkpoint_every", "evaluate_every", "sample_every", "sample_tokens"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; give 0 or more")
        _require(self.evaluate_sequences >= 1, f"evaluate_sequences is {self.evaluate_sequences}; give at least 1")
        _require(
            self.spike_factor == 0 or self.spike_factor > 1, f"spike_factor is {self.spike_factor}; give 0 or above 1"
        )

    @property
    def sizes(self) -> ModelSizes:
        """The model's sizes: the preset's, but for those given."""
        return sizes_of(self.model, self.layers, self.hidden, self.heads, self.kv_heads, self.ffn)

    @property
    def zero_stage(self) -> int:
        """DeepSpeed's stage: 0 replicates everything, as do single and ddp."""
        return {"zero1": 1, "zero2": 2, "zero3": 3}.get(self.strategy, 0)

    @property
    def sequences_per_rank(self) -> int:
        """Sequences that one rank sees per optimizer step."""
        return self.global_batch_size // self.ranks

    @property
    def micro_batch(self) -> int:
        """Sequences per forward pass of one rank."""
        return self.micro_batch_size or self.sequences_per_rank

    @property
    def accumulation(self) -> int:
        """Forward passes per optimizer step of one rank."""
        return self.sequences_per_rank // self.micro_batch


@dataclass(frozen=True)
class PlanSettings:
    """What `training_plan` plans for."""

    # Preset of training/sizes.py.
    model: str = "tiny"
    # Sizes in place of the preset's, as in pretrained_model; 0: the preset's.
    layers: int = 0
    # Width of the residual stream.
    hidden: int = 0
    # Attention heads.
    heads: int = 0
    # Key-value heads.
    kv_heads: int = 0
    # Inner width of the feed-forward block.
    ffn: int = 0
    # Parameters; 0: counted from the sizes. Given: sizes serve only for activations.
    parameters: float = 0.0
    # Tokens in the vocabulary; 0: the tokenizer in force, else 32,000.
    vocabulary: int = 0
    # Tokens to train on; 0: as tokens_rule says.
    tokens: float = 0.0
    # Compute-optimal tokens: 20 per parameter, or along the table of the paper's Approach 1 (Hoffmann et al. 2022).
    tokens_rule: Literal["twenty", "approach1"] = "twenty"
    # Tokens per sequence; 0: the mixture's, else 2,048.
    sequence_length: int = 0
    # Sequences per forward pass of one GPU.
    micro_batch_size: int = 1
    # Sequences per optimizer step over all GPUs; 0: no gradient accumulation.
    global_batch_size: int = 0
    # Kind of GPU, as in training/hardware.py: h100, h200, a100-80gb, a100-40gb, l40s, rtx4090, v100, ...
    gpu: str = "h100"
    # How many of them.
    gpus: int = 8
    # Memory of one GPU in GB (1e9 bytes); 0: that kind's.
    gpu_memory_gb: float = 0.0
    # Dense peak of one GPU in TFLOP/s; 0: that kind's.
    gpu_tflops: float = 0.0
    # Share of the peak that training reaches (model FLOPs utilisation, Chowdhery et al. 2022).
    mfu: float = 0.4
    # Price of one GPU for an hour, in the currency you think in; 0: no cost is stated.
    price_per_gpu_hour: float = 0.0
    # Arithmetic, as in pretrained_model: with bf16 and fp16, master weights are fp32.
    precision: TrainingPrecision = "bf16"
    # How model states are spread, as in pretrained_model.
    strategy: Strategy = "zero1"
    # Optimizer and fp32 master weights in host memory, for zero1 to zero3.
    offload: bool = False
    # What holds the moments, as in pretrained_model; pages of the paged ones are counted on the host.
    optimizer: Optimizer = "adamw"
    # Recompute activations in the backward pass.
    activation_checkpointing: bool = False
    # Each decoder layer compiled by torch.compile, which keeps fewer activations.
    compile: bool = True
    # Rank of the adapters in the LoRA and QLoRA rows.
    lora_rank: int = 16
    # Share of a GPU's memory left to CUDA's context, NCCL and fragmentation.
    memory_reserve: float = 0.1

    def __post_init__(self) -> None:
        _ = self.sizes
        for name in ("parameters", "vocabulary", "tokens", "sequence_length", "gpu_memory_gb", "gpu_tflops"):
            _require(0 <= getattr(self, name) < float("inf"), f"{name} is {getattr(self, name)}; give 0 or more")
        _require(self.gpus >= 1, f"gpus is {self.gpus}; give at least 1")
        _require(self.strategy != "single" or self.gpus == 1, f"strategy single is one GPU, not {self.gpus}: give ddp")
        _require(
            not self.offload or self.strategy in ("zero1", "zero2", "zero3"),
            f"offload goes with zero1, zero2 or zero3, not {self.strategy}",
        )
        _require_place(self.optimizer, is_offloaded=self.offload)
        _require(self.micro_batch_size >= 1, f"micro_batch_size is {self.micro_batch_size}; give at least 1")
        at_once = self.micro_batch_size * self.gpus
        _require(
            self.global_batch_size >= 0 and self.global_batch_size % at_once == 0,
            f"global_batch_size is {self.global_batch_size}, no multiple of micro_batch_size x gpus, {at_once}",
        )
        _require(self.lora_rank >= 1, f"lora_rank is {self.lora_rank}; give at least 1")
        _require(0 < self.mfu <= 1, f"mfu is {self.mfu}; give a share between 0 and 1")
        _require(self.price_per_gpu_hour >= 0, f"price_per_gpu_hour is {self.price_per_gpu_hour}; give 0 or more")
        _require(0 <= self.memory_reserve < 1, f"memory_reserve is {self.memory_reserve}; give 0 to below 1")

    @property
    def sizes(self) -> ModelSizes:
        """The model's sizes: the preset's, but for those given."""
        return sizes_of(self.model, self.layers, self.hidden, self.heads, self.kv_heads, self.ffn)

    @property
    def accumulation(self) -> int:
        """Forward passes per optimizer step of one GPU."""
        return max(1, self.global_batch_size // (self.micro_batch_size * self.gpus))


@dataclass(frozen=True)
class InstructionSettings:
    """How `instruction_dataset` is made."""

    # JSONL files, gzip or not, absolute or below the root; none: every one in <root>/instructions/.
    paths: tuple[str, ...] = ()
    # Tokens per example; longer ones are cut at the end. 0: the mixture's sequence length.
    maximum_length: int = 0
    # Share of examples kept out of training, chosen by the hash of their content.
    heldout_fraction: float = 0.05
    # Examples taken, in hash order; 0: all.
    maximum_examples: int = 0
    # The system message put before an example that has none; empty: none.
    system_prompt: str = ""

    def __post_init__(self) -> None:
        _require(self.maximum_length >= 0, f"maximum_length is {self.maximum_length}; give 0 or more")
        _require(0 < self.heldout_fraction < 1, f"heldout_fraction is {self.heldout_fraction}; give 0 to 1, exclusive")
        _require(self.maximum_examples >= 0, f"maximum_examples is {self.maximum_examples}; give 0 or more")


ATTENTION_AND_FFN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraSettings:
    """How `lora_adapter` is trained (Hu et al. 2021)."""

    # Folder of the base model in Hugging Face format; empty: final/ of the pretrained_model chosen last.
    base_model: str = ""
    # Rank of the update B·A.
    rank: int = 16
    # Scale: the update counts alpha / rank; 2 to 4 times the rank is usual.
    alpha: int = 32
    # Dropout on the adapter's input.
    dropout: float = 0.0
    # Linear layers that get an adapter, by name.
    targets: tuple[str, ...] = ATTENTION_AND_FFN
    # Passes over the training examples where `steps` is 0.
    epochs: float = 2.0
    # Optimizer steps; 0: as many as `epochs` needs.
    steps: int = 0
    # Examples per optimizer step.
    batch_size: int = 16
    # Examples per forward pass; 0: batch_size.
    micro_batch_size: int = 0
    # Peak learning rate; 10 to 100 times that of full fine-tuning.
    learning_rate: float = 2e-3
    # Share of the steps spent on linear warm-up.
    warmup_ratio: float = 0.05
    # The cosine ends at this share of the peak.
    min_lr_ratio: float = 0.1
    # Decoupled weight decay on the adapter's matrices.
    weight_decay: float = 0.0
    # Gradients are scaled down to this global norm; 0: never.
    gradient_clip: float = 1.0
    # Arithmetic of the forward and backward pass.
    precision: Precision = "fp32"
    # Decides the adapter's initial weights, dropout and the order of examples.
    seed: int = 0
    # Steps between held-out evaluations; 0: at the first and last step only.
    evaluate_every: int = 50
    # Held-out examples per evaluation.
    evaluate_examples: int = 128
    # Tokens per sample answer.
    sample_tokens: int = 48
    # Held-out questions answered before and after training.
    samples: int = 3

    def __post_init__(self) -> None:
        _require(self.rank >= 1, f"rank is {self.rank}; give at least 1")
        _require(self.alpha >= 1, f"alpha is {self.alpha}; give at least 1")
        _require(0 <= self.dropout < 1, f"dropout is {self.dropout}; give 0 to below 1")
        _require(len(self.targets) > 0, f"targets is empty; name linear layers such as {', '.join(ATTENTION_AND_FFN)}")
        _require(self.epochs > 0 or self.steps > 0, "give epochs or steps above 0")
        _require(self.steps >= 0, f"steps is {self.steps}; give 0 or more")
        _require(self.batch_size >= 1, f"batch_size is {self.batch_size}; give at least 1")
        _require(
            self.micro_batch_size >= 0 and self.batch_size % (self.micro_batch_size or self.batch_size) == 0,
            f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}",
        )
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; give a positive number")
        _require(0 <= self.warmup_ratio < 1, f"warmup_ratio is {self.warmup_ratio}; give 0 to below 1")
        _require(0 <= self.min_lr_ratio <= 1, f"min_lr_ratio is {self.min_lr_ratio}; give 0 to 1")
        _require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; give 0 or more")
        _require(self.gradient_clip >= 0, f"gradient_clip is {self.gradient_clip}; give 0 or more")
        for name in ("evaluate_every", "sample_tokens", "samples"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; give 0 or more")
        _require(self.evaluate_examples >= 1, f"evaluate_examples is {self.evaluate_examples}; give at least 1")


@dataclass(frozen=True)
class QloraSettings(LoraSettings):
    """How `qlora_adapter` is trained: LoRA over a base frozen in 4 bits (Dettmers et al. 2023)."""

    # The 4-bit code: nf4 fits normally distributed weights, fp4 is the plain float.
    quantization: Literal["nf4", "fp4"] = "nf4"
    # Quantise the quantisation constants too: 0.37 bit a parameter less.
    double_quantization: bool = True
    # What 4-bit weights are expanded to for a matrix product.
    compute_dtype: Literal["fp32", "bf16"] = "fp32"
