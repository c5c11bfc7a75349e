"""The graph as a golden file: any change of a key, a dependency, a group or a check shows in a diff.

After a change that is meant: `python tests/assets/test_assets_specs.py` writes the file again.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg

OBSERVED = {"compared_corpora", "takedowns"}  # not made by any run
GOLDEN = Path(__file__).with_name("asset_specs.json")
HEAVY = (
    "pyspark",
    "torch",
    "transformers",
    "deepspeed",
    "peft",
    "presidio_analyzer",
    "spacy",
    "fasttext",
    "matplotlib",
)


def specs() -> dict[str, Any]:
    from assets.definitions import defs

    graph = defs.resolve_asset_graph()
    found: dict[str, Any] = {}
    for spec in defs.resolve_all_asset_specs():
        key = spec.key.to_user_string()
        node = graph.get(spec.key)
        found[key] = {
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "partitions": str(spec.partitions_def) if spec.partitions_def else None,
            "deps": {
                d.asset_key.to_user_string(): type(d.partition_mapping).__name__ if d.partition_mapping else None
                for d in spec.deps
            },
            "pools": sorted(node.pools or ()),
            "is_one_run": spec.partitions_def is None
            or (node.backfill_policy is not None and node.backfill_policy.max_partitions_per_run is None),
            "checks": {
                check.name: "blocking" if check.blocking else "informing"
                for check_key in sorted(node.check_keys)
                for check in [graph.get_check_spec(check_key)]
            },
        }
    return dict(sorted(found.items()))


def definitions() -> dict[str, Any]:
    from assets.definitions import defs

    repository = defs.get_repository_def()
    return {
        "assets": specs(),
        "jobs": sorted(n for n in repository.job_names if not n.startswith("__")),
        "schedules": {s.name: [s.cron_schedule, s.default_status.value] for s in repository.schedule_defs},
        "sensors": {s.name: s.default_status.value for s in repository.sensor_defs},
    }


def test_the_graph_is_the_golden_one() -> None:
    assert definitions() == json.loads(GOLDEN.read_text())


def test_every_asset_tells_a_newcomer_what_it_is() -> None:
    from assets.definitions import defs

    for spec in defs.resolve_all_asset_specs():
        assert spec.description is not None
        assert len(spec.description) > 50, spec.key


def test_the_stage_table_and_the_graph_name_the_same_things() -> None:
    from pipelines.stages import STAGES

    found = specs()
    for stage in STAGES:
        assert found[stage.name]["group"] == stage.group
        assert set(found[stage.name]["deps"]) - OBSERVED == set(stage.reads)


def test_importing_the_definitions_imports_nothing_heavy() -> None:
    program = f"import sys, assets.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "Warning" not in done.stderr


def test_a_run_of_a_job_covers_each_of_its_assets() -> None:
    from assets.definitions import defs
    from assets.jobs import PHASES

    assert sorted(a for p in PHASES for a in p.assets) == sorted(set(specs()) - OBSERVED)
    for phase in PHASES:
        job = defs.resolve_job_def(phase.job)
        keys = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        assert keys == set(phase.assets)


def test_the_definitions_validate() -> None:
    dg.Definitions.validate_loadable(__import__("assets.definitions").definitions.defs)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(definitions(), indent=1) + "\n")
