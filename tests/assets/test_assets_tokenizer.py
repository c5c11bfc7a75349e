"""What the UI shows of a tokenizer."""

from typing import Any

from assets.metadata import report_metadata
from pipelines.tokens.tokenizer_peers import Peer
from pipelines.tokens.tokenizer_report import measure, table


def test_a_tokenizer_shows_its_numbers_its_table_and_a_picture() -> None:
    measures = measure(lambda texts: sum(map(len, texts)) // 2, 300, {"en": ["two words"]}, {}, [Peer("p", 9, len)])
    report: dict[str, Any] = {"stage": "tokenizer", "version": "0123456789ab", "measures": measures}
    shown = report_metadata(report | {"table": table(measures), "notes": ["p2 is left out"]}, "/folder")
    assert shown["bytes_per_token/ours"] == 2.25 and shown["tokens_per_word/p"] == 4.5
    assert "| en | 1 |" in shown["table"].value and "- p2 is left out" in shown["table"].value
    assert "data:image/png;base64," in shown["compression"].value
    older = report_metadata(report | {"measures": {"bytes_per_token": 3.1}}, "/folder")
    assert "compression" not in older and older["version"] == "0123456789ab"
