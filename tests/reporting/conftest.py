"""Results of two seeds, worked out by hand."""

import pandas as pd
import pytest

from attribution_preservation.reporting.results import read_results

COSINES = {"naive": [0.80, 0.84], "swa": [0.90, 0.92], "ewa": [0.83, 0.85]}


def rows(cosines=COSINES, own_pairs=150):
    for seed in (0, 1):
        yield {"compression": "teacher", "seed": seed, "metric": "mean_ap", "value": 99.0 + seed, "n": 400}
        for population in ("own", "all"):
            for attribution in ("grad_cam", "centre", "random"):
                where = {"compression": "teacher", "seed": seed, "attribution": attribution, "population": population}
                yield {**where, "metric": "roc_auc", "value": 95.0, "n": 700}
                yield {**where, "metric": "point_accuracy", "value": 70.0, "n": 700}
        for iteration in (1, 2):
            level = {"compression": "prune_weights", "student": "iterative", "iteration": iteration, "sparsity": 0.2}
            for method, values in cosines.items():
                yield from student({**level, "method": method, "seed": seed}, values[seed], own_pairs)
        level = {"compression": "prune_channels", "student": "rate_70"}
        for method, values in cosines.items():
            yield from student({**level, "method": method, "seed": seed}, values[seed], own_pairs)
        yield from student({"compression": "scratch", "student": "half", "seed": seed}, 0.3, own_pairs)
    for number, cosine in enumerate((0.7, 0.95)):  # a sweep with one seed
        yield from student({**level, "method": f"sweep_{number}", "seed": 0}, cosine, own_pairs)


def student(where, cosine, own_pairs):
    yield {**where, "metric": "mean_ap", "value": 90.0 + where["seed"], "n": 400}
    yield {**where, "metric": "agreement", "value": 96.0 + where["seed"], "n": 400}
    yield {**where, "metric": "divergence", "value": 0.2, "n": 400}
    for metric in ("parameters", "nonzero_parameters", "macs", "bytes"):
        yield {**where, "metric": metric, "value": 1234}
    for population, count in (("own", own_pairs), ("common", 90), ("all", 200)):
        of = {**where, "population": population, "attribution": "grad_cam"}
        offset = {"own": 0.0, "common": 0.01, "all": -0.3}[population]
        yield {**of, "metric": "cosine", "value": cosine + offset, "n": count}
        yield {**of, "metric": "l2", "value": 1 - cosine, "n": count}
        yield {**of, "metric": "roc_auc", "value": 100 * cosine, "n": count}
        yield {**of, "metric": "association", "value": -0.4, "n": count}
        yield {**of, "metric": "point_accuracy", "value": 50.0, "n": count}


@pytest.fixture
def scores(tmp_path):
    def write(**options):
        frame = pd.DataFrame(rows(**options)).assign(teacher="full")
        batches = list(frame["compression"].unique())
        for compression, part in frame.groupby("compression"):
            folder = tmp_path / "all" / compression
            folder.mkdir(parents=True, exist_ok=True)
            part.dropna(axis=1, how="all").to_csv(folder / "results.csv", index=False)
        return read_results([tmp_path / "all" / batch / "results.csv" for batch in batches], "tiny")

    return write
