import argparse

import numpy as np

from tfsaliency.cli.methods import make_explainer, make_metric, methods_of
from tfsaliency.cli.outputs import check_free
from tfsaliency.cli.prepared import prepare
from tfsaliency.metrics import compare as compared
from tfsaliency.plot import write_png


def compare(options: argparse.Namespace) -> None:
    """Compares methods on photographs; writes the table as text, npz, PNG and HTML, and prints it."""
    files = {suffix: options.out / f"table.{suffix}" for suffix in ("txt", "npz", "png", "html")}
    check_free(files.values(), options.force)
    methods = methods_of(options)
    prepared = prepare(options)
    explainers = {method: make_explainer(method, prepared.model) for method in methods}
    first = next(iter(explainers.values()))
    metrics = [make_metric(metric, first) for metric in options.metric] if options.metric else None
    inputs = prepared.preprocess(np.stack(prepared.pictures).astype("float32"))
    first_target = prepared.targets[0]
    targets = prepared.targets if isinstance(first_target, int) else first_target
    table = compared(explainers, inputs, targets, metrics, progress=True)
    options.out.mkdir(parents=True, exist_ok=True)
    files["txt"].write_text(f"{table}\n", encoding="utf-8")
    table.save(files["npz"])
    write_png(table.plot(), files["png"])
    table.report(files["html"])
    print(table)
