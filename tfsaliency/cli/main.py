import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from tfsaliency.cli.quiet import import_tensorflow
from tfsaliency.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one message on the error stream."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            options.run(options)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted")
    # A foreign model or file can raise any error: the user gets a message and not a traceback.
    except Exception as error:
        return _fail(str(error) or type(error).__name__)
    return 0


def _fail(message: str) -> int:
    print(f"tfsaliency: error: {message}", file=sys.stderr)
    return 1


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"tfsaliency: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tfsaliency", description="Which parts of this input made the network say that?")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    explain = commands.add_parser(
        "explain",
        help="explain photographs with a model; writes PNG and npz, or Parquet files for a folder of photographs",
    )
    _add_model_and_photos(explain, "JPEG, PNG, WebP or BMP, or one folder")
    explain.add_argument(
        "--out",
        type=Path,
        default=Path("explanations"),
        help="folder to write to (default: %(default)s)",
    )
    explain.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also write one page with all photos and maps, which needs no other file",
    )
    folder = explain.add_argument_group(
        "a folder of photographs", "is explained part by part; the same command goes on where an earlier one stopped"
    )
    folder.add_argument("--shard", metavar="I/N", help="explain part I, I + N, ... (default: all)")
    folder.add_argument("--dtype", choices=["float32", "float16"], help="of the values in the files (default: float32)")
    folder.add_argument("--strict", action="store_true", help="stop at the first photo that cannot be explained")
    explain.set_defaults(run=_explain)

    compare = commands.add_parser(
        "compare", help="compare methods on photographs, with controls and intervals; writes a table, a plot and a page"
    )
    _add_model_and_photos(compare, "JPEG, PNG, WebP or BMP")
    compare.add_argument(
        "--metric",
        action="append",
        metavar="NAME[:OPTION=VALUE,...]",
        help="e.g. deletion:fill=mean,steps=10; may be given several times; default: deletion, insertion and "
        "mufidelity, each with a blurred and a mean fill",
    )
    compare.add_argument(
        "--out", type=Path, default=Path("comparison"), help="folder to write to (default: %(default)s)"
    )
    compare.set_defaults(run=_compare)

    methods = commands.add_parser("methods", help="list the methods and their options")
    methods.set_defaults(run=_methods)

    demo = commands.add_parser(
        "demo", help="explain four photographs with a real ImageNet model, by one method of each family"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: %(default)s)")
    demo.add_argument("--force", action="store_true", help="replace files that exist")
    demo.add_argument("--all", action="store_true", help="by every method, which takes about six minutes")
    demo.set_defaults(run=_demo)
    return parser


def _add_model_and_photos(command: argparse.ArgumentParser, photos: str) -> None:
    """Adds the options that every command about photographs has."""
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help=photos)
    command.add_argument(
        "--model",
        required=True,
        help="a .keras file, zoo:efficientnet-lite0, or keras:NAME for a model of keras.applications "
        "(its weights are fetched)",
    )
    command.add_argument(
        "--method",
        action="append",
        metavar="NAME[:OPTION=VALUE,...]",
        help="e.g. smoothgrad:samples=100; may be given several times; default gradient. See: tfsaliency methods",
    )
    command.add_argument(
        "--target",
        default="top",
        help="top, top3 for the first three classes, a class, or one class per photo: 285,967 (default: top)",
    )
    command.add_argument(
        "--preprocess",
        choices=["auto", "raw", "unit", "signed", "imagenet"],
        default="auto",
        help="what the model takes: numbers in 0..255 (raw), 0..1 (unit), -1..1 (signed), or of ImageNet's mean 0 and "
        "deviation 1 (imagenet). auto knows zoo: and keras: models, and is raw for a file",
    )
    command.add_argument(
        "--labels",
        type=Path,
        help="a file of class names, one per line; zoo: and keras: models know theirs",
    )
    command.add_argument("--size", type=int, help="side of the input in pixels, where the model does not tell")
    command.add_argument("--force", action="store_true", help="replace files that exist")
    command.add_argument(
        "--trust-model",
        action="store_true",
        help="also load .h5 files, SavedModel folders and .keras files with Python code. Loading one runs whatever "
        "code its author put in, with your rights: only for files that you made or would run as a program",
    )


# Commands are imported when they run: --help and methods do not wait for TensorFlow.
def _explain(options: argparse.Namespace) -> None:
    import_tensorflow()
    from tfsaliency.cli.dataset import explain_folder, is_folder
    from tfsaliency.cli.explain import explain

    if is_folder(options.photos):
        explain_folder(options)
    else:
        explain(options)


def _compare(options: argparse.Namespace) -> None:
    import_tensorflow()
    from tfsaliency.cli.compare import compare

    compare(options)


def _methods(options: argparse.Namespace) -> None:
    print(Path(__file__).with_name("methods.txt").read_text(encoding="utf-8"), end="")


def _demo(options: argparse.Namespace) -> None:
    import_tensorflow()
    from tfsaliency.cli.demo import demo

    demo(options.out, options.force, options.all)
