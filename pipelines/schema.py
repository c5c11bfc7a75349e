"""The columns everybody relies on."""

import pyarrow as pa

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),  # see pipelines.crawl.records.document_id
        ("url", pa.string()),
        ("host", pa.string()),
        ("corpus", pa.string()),
        ("segment", pa.string()),
        ("warc_file", pa.string()),  # path below the folder that was registered
        ("warc_offset", pa.int64()),  # byte offset of the record in the file as stored
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("text", pa.large_string()),
        ("language", pa.string()),  # null until language_filtered_documents
        ("language_score", pa.float32()),
    ]
)
"""Present, in this order, from `extracted_documents` to `clean_documents`; signal columns follow."""

VERDICT_SCHEMA = pa.schema(
    [
        ("reason", pa.string()),  # null = keep
        ("score", pa.float64()),  # the signal that decided, where there is one
        ("threshold", pa.float64()),
        ("detail", pa.string()),  # what a person needs beside the numbers; never page text
    ]
)
"""What `decide` returns, one row per document of the batch."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
        ("failed_rules", pa.list_(pa.string())),  # every rule that the row fails, undecisive ones too; `reason` is one
        ("warc_record", pa.int32()),  # which of the records that lie at one offset: see pipelines.crawl.rows
    ]
)
"""One rejected row. It never holds page text, which may hold personal data."""

SIGNATURE_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("content_hash", pa.binary(16)),  # of the normalised text: equal hash = exact duplicate
        ("signature", pa.binary()),  # MinHash values, little-endian, packed; null where the text has no shingle
        ("quality", pa.float64()),  # what the representative rule compares first
    ]
)
"""Columns of `minhash_signatures`."""

DUPLICATE_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),  # the duplicate
        ("segment", pa.string()),  # where the duplicate lies
        ("representative_id", pa.string()),  # the document it repeats, which is kept
        ("representative_corpus", pa.string()),  # another one only with scope `all`
        ("representative_segment", pa.string()),
        ("kind", pa.string()),  # exact or near
        ("similarity", pa.float64()),  # share of equal MinHash values with the representative
        ("cluster_id", pa.string()),  # the representative's doc_id
        ("cluster_size", pa.int64()),  # with the representative, over all corpora that were compared
    ]
)
"""Columns of `duplicate_clusters`, sorted by (segment, doc_id)."""
