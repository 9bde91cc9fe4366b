import argparse

from tqdm import tqdm

from tfsaliency.cli.methods import make_explainer, methods_of
from tfsaliency.cli.outputs import (
    check_free,
    diagnostics_text,
    names_of_methods,
    print_table,
    safe_names,
)
from tfsaliency.cli.prepared import prepare
from tfsaliency.plot import plot, write_png
from tfsaliency.plot.captions import target_text
from tfsaliency.plot.report import Section, check_report, write_report


def explain(options: argparse.Namespace) -> None:
    """Explains photographs one by one, writes a PNG and an npz per photograph and method, and prints a table."""
    _check_options(options)
    methods = methods_of(options)
    photos = safe_names(path.stem for path in options.photos)
    folders = names_of_methods(methods)
    files = {
        (photo, method): options.out / f"{photo}.{folder}.png"
        for photo in photos
        for method, folder in zip(methods, folders, strict=True)
    }
    written = [each for path in files.values() for each in (path, path.with_suffix(".npz"))]
    if options.report:
        written.append(check_report(options.report))
    check_free(written, options.force)

    prepared = prepare(options)
    explainers = [make_explainer(method, prepared.model) for method in methods]

    # All work comes before the first file, so a failure leaves no incomplete output.
    explanations = {}
    with tqdm(total=len(files), desc="explaining", unit="map") as bar:
        for photo, picture, target in zip(photos, prepared.pictures, prepared.targets, strict=True):
            for method, explainer in zip(methods, explainers, strict=True):
                explanation = explainer.explain(prepared.preprocess(picture[None].astype("float32")), target)
                explanations[photo, method] = explanation, picture
                bar.update()

    for folder in (options.out, *([options.report.parent] if options.report else [])):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for (photo, method), (explanation, picture) in explanations.items():
        path = files[photo, method]
        write_png(plot(explanation, images=picture[None], labels=prepared.labels), path)
        explanation.save(path.with_suffix(".npz"))
        for one in explanation.each():
            rows.append(
                [
                    photo,
                    target_text(one, 0, prepared.labels),
                    f"{one.scores[0]:.3f}",
                    method,
                    f"{explanation.provenance['seconds']:.2f}",
                    diagnostics_text(one, 0),
                    str(path),
                ]
            )
    if options.report:
        sections = [
            Section([explanations[photo, method][0] for method in methods], picture[None], [path.name])
            for photo, path, picture in zip(photos, options.photos, prepared.pictures, strict=True)
        ]
        write_report(sections, options.report, labels=prepared.labels)
    print_table(["photo", "target", "score", "method", "seconds", "diagnostics", "file"], rows)


def _check_options(options: argparse.Namespace) -> None:
    if options.shard or options.dtype or options.strict:
        raise ValueError("--shard, --dtype and --strict are for one folder of photos. Received: single photos")
