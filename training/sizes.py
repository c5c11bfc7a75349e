"""How large a Llama-architecture model is: presets, explicit sizes, and the parameter count that follows."""

from dataclasses import dataclass, replace

from gristmill.core.errors import SettingsError


@dataclass(frozen=True)
class ModelSizes:
    """The numbers that make a Llama-architecture decoder."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int  # fewer than heads: grouped-query attention (Ainslie et al. 2023)
    ffn: int  # inner width of the SwiGLU block (Shazeer 2020)
    is_tied: bool = True  # the output layer shares the embedding's weights (Press & Wolf 2017)

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "kv_heads", "ffn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if self.hidden // self.heads % 2:
            raise ValueError(f"hidden / heads is {self.hidden // self.heads}; rotary embeddings need an even number")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")

    @property
    def kv_width(self) -> int:
        """Width of all key-value heads together."""
        return self.hidden // self.heads * self.kv_heads


# The first three are ours, sized for a CPU, one small GPU and one large one; the others are published models.
PRESETS: dict[str, ModelSizes] = {
    "tiny": ModelSizes(layers=4, hidden=256, heads=4, kv_heads=4, ffn=704),
    "small": ModelSizes(layers=8, hidden=512, heads=8, kv_heads=4, ffn=1408),
    "medium": ModelSizes(layers=16, hidden=1024, heads=16, kv_heads=8, ffn=2816),
    "tinyllama-1.1b": ModelSizes(layers=22, hidden=2048, heads=32, kv_heads=4, ffn=5632, is_tied=False),
    "llama2-7b": ModelSizes(layers=32, hidden=4096, heads=32, kv_heads=32, ffn=11008, is_tied=False),
    "llama2-13b": ModelSizes(layers=40, hidden=5120, heads=40, kv_heads=40, ffn=13824, is_tied=False),
    "llama2-70b": ModelSizes(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672, is_tied=False),
    "llama3-8b": ModelSizes(layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, is_tied=False),
}


def sizes_of(model: str, layers: int, hidden: int, heads: int, kv_heads: int, ffn: int) -> ModelSizes:
    """The preset `model` with every size that is not 0 put in its place.

    Raises:
        SettingsError: no such preset.
        ValueError: the sizes do not fit together.
    """
    if model not in PRESETS:
        raise SettingsError(f"model {model!r} is not a preset; choose one of {', '.join(PRESETS)}")
    given = {"layers": layers, "hidden": hidden, "heads": heads, "kv_heads": kv_heads, "ffn": ffn}
    given = {name: value for name, value in given.items() if value}
    if "heads" in given and "kv_heads" not in given:
        given["kv_heads"] = given["heads"]
    return replace(PRESETS[model], **given)


def parameter_count(sizes: ModelSizes, vocabulary: int) -> int:
    """Parameters of the model, embeddings included: what `model.parameters()` adds up to.

    Per layer: query and output h², keys and values h² · kv_heads / heads each, three SwiGLU matrices h · ffn,
    two norms h; plus the embedding, the output layer where it is not tied, and the last norm.
    """
    h = sizes.hidden
    attention = 2 * h * h + 2 * h * (h // sizes.heads) * sizes.kv_heads
    layer = attention + 3 * h * sizes.ffn + 2 * h
    embeddings = vocabulary * h * (1 if sizes.is_tied else 2)
    return sizes.layers * layer + embeddings + h


def preset_near(parameters: float, vocabulary: int = 0) -> str:
    """The preset whose parameter count is nearest as a ratio, with 32,000 tokens where `vocabulary` is 0."""
    count = {name: parameter_count(sizes, vocabulary or 32_000) for name, sizes in PRESETS.items()}
    return min(count, key=lambda name: max(count[name], parameters) / max(min(count[name], parameters), 1.0))
