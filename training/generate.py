"""Text from a model: `python -m training.generate MODEL_DIR [--adapter DIR] --prompt TEXT`."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, MissingDataError, SettingsError, one_line
from training.chat import Chat
from training.model import load_model
from training.sampling import continue_tokens, load_tokenizer


def load_with_adapter(model: Path, adapter: Path | None) -> Any:
    """The model of a folder, with the PEFT adapter of another on top, ready for generating.

    Raises:
        MissingDataError: a folder is not there or holds something else.
    """
    if not model.is_dir():
        raise MissingDataError(f"{model} is not a folder: give the final/ folder of a model")
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise MissingDataError(f"{adapter} is not an adapter (no adapter_config.json in it): give its final/ folder")
    loaded: Any = load_model(model)
    if adapter is not None:
        from training.adapters import read_adapter

        loaded = read_adapter(loaded, adapter)
    return loaded.eval()


def generate(given: argparse.Namespace) -> dict[str, Any]:
    """Make the text that the command line asks for; returns what `--json` prints."""
    if given.max_new_tokens < 1:
        raise SettingsError(f"--max-new-tokens is {given.max_new_tokens}; give at least 1")
    if given.temperature < 0:
        raise SettingsError(f"--temperature is {given.temperature}; give 0 or more")
    model = load_with_adapter(given.model, given.adapter)
    if given.chat:
        chat = Chat(given.model)
        tokenizer, stop_ids = chat.tokenizer, chat.stop_ids
        prompt_ids = chat.encode_prompt([{"role": "user", "content": given.prompt}])
    else:
        tokenizer = load_tokenizer(given.model)
        end = model.config.eos_token_id
        stop_ids = tuple(end) if isinstance(end, list) else (0 if end is None else end,)
        prompt_ids = tokenizer.encode(given.prompt, add_special_tokens=False).ids or [stop_ids[0]]
    longest = tokenizer.get_vocab_size()
    if model.config.vocab_size < longest:
        raise MissingDataError(
            f"{given.model}: the tokenizer has {longest} tokens, the model {model.config.vocab_size}: "
            "the two do not belong together"
        )
    made = continue_tokens(
        model,
        prompt_ids,
        max_new_tokens=given.max_new_tokens,
        stop_ids=stop_ids,
        temperature=given.temperature,
        seed=given.seed,
    )
    return {
        "model": str(given.model),
        "adapter": str(given.adapter) if given.adapter else None,
        "prompt": given.prompt,
        "text": tokenizer.decode(made),
        "prompt_tokens": len(prompt_ids),
        "new_tokens": len(made),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.generate", description=__doc__)
    parser.add_argument("model", type=Path, help="folder in Hugging Face format")
    parser.add_argument("--adapter", type=Path, help="folder in PEFT format")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token each time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chat", action="store_true", help="put the prompt as a user's message")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # libraries may print; standard output is the answer's
            made = generate(given)
    except GristmillError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    print(
        json.dumps(made, ensure_ascii=False)
        if given.json
        else made["text"]
        if given.chat
        else given.prompt + made["text"]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
