import argparse

import keras
from tqdm import tqdm

from tfsaliency.cli.methods import make_explainer
from tfsaliency.cli.models import PREPROCESS, load_model, read_labels
from tfsaliency.cli.outputs import (
    check_free,
    diagnostics_text,
    print_table,
    safe_names,
)
from tfsaliency.cli.photos import read_photo
from tfsaliency.plot import plot, write_png
from tfsaliency.plot.captions import target_text
from tfsaliency.plot.report import Section, check_report, write_report
from tfsaliency.zoo.crop import centre_crop

LARGEST = 4096


def explain(options: argparse.Namespace) -> None:
    """Explains photographs one by one, writes a PNG and an npz per photograph and method, and prints a table."""
    methods = options.method or ["gradient"]
    if len(set(methods)) < len(methods):
        raise ValueError(f"A method is named twice: {', '.join(methods)}")
    targets = _targets(options.target, len(options.photos))
    photos = safe_names(path.stem for path in options.photos)
    folders = safe_names(method.replace("=", "") for method in methods)
    files = {
        (photo, method): options.out / f"{photo}.{folder}.png"
        for photo in photos
        for method, folder in zip(methods, folders, strict=True)
    }
    written = [each for path in files.values() for each in (path, path.with_suffix(".npz"))]
    if options.report:
        written.append(check_report(options.report))
    check_free(written, options.force)

    loaded = load_model(options.model, options.trust_model)
    labels = read_labels(options.labels) if options.labels else loaded.labels
    preprocess = loaded.preprocess if options.preprocess == "auto" else PREPROCESS[options.preprocess]
    explainers = [make_explainer(method, loaded.model) for method in methods]
    height, width = _size(loaded.model, options.size)
    pictures = [centre_crop(read_photo(path), height, width) for path in options.photos]

    # All work comes before the first file, so a failure leaves no incomplete output.
    explanations = {}
    with tqdm(total=len(files), desc="explaining", unit="map") as bar:
        for photo, picture, target in zip(photos, pictures, targets, strict=True):
            for method, explainer in zip(methods, explainers, strict=True):
                explanation = explainer.explain(preprocess(picture[None].astype("float32")), target)
                explanations[photo, method] = explanation, picture
                bar.update()

    for folder in (options.out, *([options.report.parent] if options.report else [])):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for (photo, method), (explanation, picture) in explanations.items():
        path = files[photo, method]
        write_png(plot(explanation, images=picture[None], labels=labels), path)
        explanation.save(path.with_suffix(".npz"))
        rows.append(
            [
                photo,
                target_text(explanation, 0, labels),
                f"{explanation.scores[0]:.3f}",
                method,
                f"{explanation.provenance['seconds']:.2f}",
                diagnostics_text(explanation, 0),
                str(path),
            ]
        )
    if options.report:
        sections = [
            Section([explanations[photo, method][0] for method in methods], picture[None], [path.name])
            for photo, path, picture in zip(photos, options.photos, pictures, strict=True)
        ]
        write_report(sections, options.report, labels=labels)
    print_table(["photo", "target", "score", "method", "seconds", "diagnostics", "file"], rows)


def _targets(text: str, count: int) -> list[int | None]:
    if text == "top":
        return [None] * count
    try:
        targets = [int(item) for item in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--target is top, a class number, or one number per photo: 285,967. Received: {text!r}"
        ) from None
    if len(targets) == 1:
        return [*targets] * count
    if len(targets) != count:
        raise ValueError(f"--target names {len(targets)} classes for {count} photos.")
    return [*targets]


def _size(model: keras.Model, size: int | None) -> tuple[int, int]:
    if size is not None:
        if not 1 <= size <= LARGEST:
            raise ValueError(f"--size is at least 1 and at most {LARGEST}. Received: {size}")
        return size, size
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) == 4:
        _, height, width, channels = shape
        if channels != 3:
            raise ValueError(f"The command line explains models of RGB images. The model takes {shape}: use Python.")
        if height and width:
            return height, width
    raise ValueError(
        f"The model declares the input shape {shape}, not the size of an RGB image. Pass --size, e.g. --size 224"
    )
