"""datatrove's DocumentTokenizer over Parquet, run by the Python of `.venv-peers-datatrove`.

    python peer_datatrove_tokens.py INPUT OUTPUT TOKENIZER.JSON

One task in one process, documents in their order (it can shuffle them, which costs it more), no offsets kept.
"""

import sys


def main() -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    source, output, tokenizer = sys.argv[1:]
    LocalPipelineExecutor(
        pipeline=[
            ParquetReader(source, glob_pattern="*.parquet", id_key="doc_id"),
            DocumentTokenizer(
                output,
                tokenizer_name_or_path=tokenizer,
                eos_token="<|endoftext|>",
                batch_size=1000,
                shuffle_documents=False,
            ),
        ],
        tasks=1,
        workers=1,
        logging_dir=f"{output}/logs",
        skip_completed=False,
    ).run()


if __name__ == "__main__":
    main()
