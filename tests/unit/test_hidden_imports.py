"""The filters' libraries come without torch."""

import subprocess
import sys

SCRIPT = """
import sys
import pyarrow as pa
from pipelines.filters import quality
from pipelines.privacy import redaction
assert not {"spacy", "presidio_analyzer", "fasttext", "phonenumbers"} & set(sys.modules), "imported too early"
batch = pa.record_batch({"text": pa.array(["Some words, and a@example.com."], pa.large_string())})
quality.score(batch, quality.Settings())
assert redaction.score(batch, redaction.Settings()).column("pii_total").to_pylist() == [1]
assert not {"torch", "transformers"} & set(sys.modules), "torch or transformers was imported"
from pipelines.hidden_imports import hidden
with hidden("json.tool", "json"):
    import json
    try:
        import json.tool
    except ImportError:
        print("hidden")
import json.tool
"""


def test_no_filter_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "hidden"
