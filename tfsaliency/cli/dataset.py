import argparse
import warnings
from pathlib import Path

from tfsaliency.cli.methods import make_explainer, methods_of
from tfsaliency.cli.outputs import names_of_methods
from tfsaliency.cli.prepared import loaded, one_target
from tfsaliency.datasets import explain_dataset
from tfsaliency.datasets.run import check_shard


def explain_folder(options: argparse.Namespace) -> None:
    """Explains all pictures of a folder part by part, into a folder of Parquet files that can be gone on with."""
    if options.report or options.size or options.force:
        raise ValueError(
            "--report, --size and --force are for single photos. A folder is read by tfsaliency.read_explanations, and "
            "goes on where it stopped: write to another one with --out to begin anew."
        )
    (folder,) = options.photos
    target, shard = one_target(options.target), shard_of(options.shard or "0/1")
    methods = methods_of(options)
    model, _, preprocess = loaded(options)
    explainers = [make_explainer(method, model) for method in methods]
    names = names_of_methods(methods)
    with warnings.catch_warnings():
        # The table below says which rows.
        warnings.filterwarnings("ignore", message=r".* rows could not be explained")
        written = explain_dataset(
            dict(zip(names, explainers, strict=True)) if len(names) > 1 else explainers[0],
            folder,
            options.out,
            target,
            preprocess=preprocess,
            dtype=options.dtype or "float32",
            shard=shard,
            strict=options.strict,
        )
    for each in written.values() if isinstance(written, dict) else [written]:
        state = "complete" if each.is_complete else "not complete: other shards are missing"
        print(f"{each.path}: {len(each):,} pictures explained, {state}")
        for row in each.bad_rows:
            print(f"  not explained: {row.id}: {row.reason}")


def is_folder(photos: list[Path]) -> bool:
    """Whether the photos are one folder of them."""
    return len(photos) == 1 and photos[0].is_dir()


def shard_of(text: str) -> tuple[int, int]:
    """``"0/3"`` as numbers.

    Raises:
        ValueError: it is no share of the work.
    """
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        raise ValueError(f"--shard is i/n, such as 0/3. Received: {text!r}") from None
    check_shard((index, count))
    return index, count
