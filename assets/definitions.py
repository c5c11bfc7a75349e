"""The code location on one page: what there is, in the order of the flow, and the policies that hold for all."""

import dagster as dg

from assets import (
    checks,
    crawl,
    dedup,
    duplicate_checks,
    filters,
    finetune,
    mixture_checks,
    personal_data_checks,
    pretrain,
    privacy,
    report,
    takedown_checks,
    tokens,
)
from assets.jobs import asset_jobs, chains
from assets.resources import Workers
from assets.schedules import weekly_crawl_schedule
from assets.sensors import compared_corpora_sensor, inbox_sensor
from assets.waiting_partitions import offer_at_load

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [crawl, filters, dedup, privacy, tokens, pretrain, finetune, report], include_specs=True
    ),
    asset_checks=dg.load_asset_checks_from_modules(
        [checks, personal_data_checks, duplicate_checks, takedown_checks, mixture_checks]
    ),
    jobs=[*asset_jobs, *chains],
    schedules=[weekly_crawl_schedule],
    sensors=[inbox_sensor, compared_corpora_sensor],
    resources={"workers": Workers.configure_at_launch()},
    # A step only waits for its worker, which is a process of its own: another one around it would cost three
    # seconds and 200 MB for nothing.
    executor=dg.in_process_executor,
)

offer_at_load()
