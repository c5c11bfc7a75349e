"""Conversations as tokens: the tokenizer's own chat template decides the text, its `generation` block the mask.

Light: jinja2 and tokenizers, no transformers, no torch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gristmill.core.errors import MissingDataError
from training.loader import IGNORED_LABEL
from training.sampling import load_tokenizer

# Marks around what the assistant says; private-use characters, taken out of any content first.
_BEGIN, _END = "\ue000", "\ue001"
ASSISTANT_END = "<|end|>"

Message = dict[str, str]


class _Generation(Extension):
    """The `{% generation %}` block of chat templates, as transformers knows it."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    @staticmethod
    def _mark(caller: Callable[[], str]) -> str:
        return _BEGIN + caller() + _END


@dataclass(frozen=True)
class ChatTokens:
    """A conversation as tokens."""

    input_ids: list[int]
    labels: list[int]  # the token where the assistant speaks, IGNORED_LABEL elsewhere; not shifted


class Chat:
    """Renders conversations for one tokenizer folder.

    Raises:
        MissingDataError: the folder has no tokenizer, no chat template, or a template that marks no generation.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_tokenizer(folder)
        template = _template(folder)
        if "{% generation %}" not in template.replace("{%- generation", "{% generation").replace("-%}", "%}"):
            raise MissingDataError(f"the chat template in {folder} marks nothing as generation: use our tokenizer's")
        environment = ImmutableSandboxedEnvironment(
            extensions=[_Generation, "jinja2.ext.loopcontrols"], trim_blocks=True, lstrip_blocks=True
        )
        try:
            self._template = environment.from_string(template)
        except jinja2.TemplateError as error:
            raise MissingDataError(f"the chat template in {folder} is not valid: {error}") from None
        special = (t.content for t in self.tokenizer.get_added_tokens_decoder().values() if t.special)
        self._special = sorted(special, key=len, reverse=True)

    def encode(self, messages: Sequence[Message]) -> ChatTokens:
        """Tokens and labels of a whole conversation; the assistant's end mark is learnt too."""
        ids: list[int] = []
        labels: list[int] = []
        for text, is_learnt in _pieces(self._render(messages, is_prompt=False)):
            piece = self._ids(text)
            ids += piece
            labels += piece if is_learnt else [IGNORED_LABEL] * len(piece)
        return ChatTokens(ids, labels)

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation in which the assistant speaks next; cut into the same pieces as in training."""
        return [i for text, _ in _pieces(self._render(messages, is_prompt=True)) for i in self._ids(text)]

    def clean(self, content: str) -> tuple[str, int]:
        """Content without special tokens, which would let it speak as someone else, and how many were taken out."""
        removed = 0
        while any(token in content for token in (*self._special, _BEGIN, _END)):  # removal can join two halves
            for token in (*self._special, _BEGIN, _END):
                removed += content.count(token)
                content = content.replace(token, "")
        return content, removed

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end the assistant's turn."""
        found = (self.tokenizer.token_to_id(token) for token in (ASSISTANT_END, "<|endoftext|>"))
        return tuple(i for i in cast(Any, found) if i is not None)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _render(self, messages: Sequence[Message], *, is_prompt: bool) -> str:
        cleaned = [{"role": m["role"], "content": self.clean(m["content"])[0]} for m in messages]
        return self._template.render(messages=cleaned, add_generation_prompt=is_prompt)


def _pieces(rendered: str) -> list[tuple[str, bool]]:
    """The rendered text cut at the marks: (text, whether the assistant says it), empty ones left out."""
    pieces: list[tuple[str, bool]] = []
    for number, part in enumerate(rendered.split(_BEGIN)):
        said, _, rest = part.partition(_END) if number else ("", "", part)
        pieces += [(text, is_said) for text, is_said in ((said, True), (rest, False)) if text]
    return pieces


def _template(folder: Path) -> str:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    try:
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError) as error:
        raise MissingDataError(f"{path} can't be read ({type(error).__name__}): make the tokenizer again") from None
    if not isinstance(template, str):
        raise MissingDataError(f"{path} holds no chat_template: use a tokenizer of ours, which has one")
    return template
