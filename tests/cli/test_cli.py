"""The command line, as a process."""

import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tfsaliency as tfs
from tfsaliency.base.pictures import read_photo
from tfsaliency.cli import main


def run(*arguments, cwd=None):
    """Exit status, output and error stream of ``tfsaliency ARGUMENTS``."""
    command = [os.path.join(os.path.dirname(sys.executable), "tfsaliency"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photo, a model with known weights, and labels."""
    path = tmp_path_factory.mktemp("cli")
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (40, 60, 3), "uint8")).save(path / "photo.png")
    Image.fromarray(generator.integers(0, 255, (30, 30, 3), "uint8")).save(path / "a b;rm -rf.jpg")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(3, activation="softmax", name="head")]
    )
    model.save(path / "model.keras")
    with_code = keras.Sequential([keras.Input((16, 16, 3)), layers.Lambda(lambda x: x), *model.layers])
    with_code.save(path / "lambda.keras")
    keras.saving.save_model(model, path / "model.h5")
    model.export(path / "saved", verbose=False)
    (path / "labels.txt").write_text("cat\ndog\nfish\n")
    (path / "latin.txt").write_bytes("Bär".encode("latin-1"))
    (path / "broken.keras").write_bytes(b"no model")
    return path


def test_explain(folder, tmp_path):
    code, out, err = run(
        "explain",
        folder / "photo.png",
        folder / "a b;rm -rf.jpg",
        "--model",
        folder / "model.keras",
        "--method",
        "smoothgrad:samples=4,noise=0.2",
        "--method",
        "gradient",
        "--target",
        "2",
        "--labels",
        folder / "labels.txt",
        "--out",
        tmp_path,
    )
    assert code == 0, err
    assert sorted(os.listdir(tmp_path)) == [
        "a_b_rm_-rf.gradient.npz",
        "a_b_rm_-rf.gradient.png",
        "a_b_rm_-rf.smoothgrad_samples4_noise0.2.npz",
        "a_b_rm_-rf.smoothgrad_samples4_noise0.2.png",
        "photo.gradient.npz",
        "photo.gradient.png",
        "photo.smoothgrad_samples4_noise0.2.npz",
        "photo.smoothgrad_samples4_noise0.2.png",
    ]
    table = out.splitlines()
    assert len(table) == 6
    assert "2 fish" in table[2]
    assert "relative_error=" in table[2]

    explanation = tfs.Explanation.load(tmp_path / "photo.gradient.npz")
    model = keras.saving.load_model(folder / "model.keras")
    weights = model.get_layer("head").kernel.numpy()[:, 2].reshape(1, 16, 16, 3)
    np.testing.assert_allclose(explanation.values, weights, rtol=1e-5)
    assert explanation.inputs.max() > 1
    smooth = tfs.Explanation.load(tmp_path / "photo.smoothgrad_samples4_noise0.2.npz")
    assert smooth.method == "SmoothGrad(Gradient, samples=4, noise=0.2, seed=0, tolerance=None, budget=1000)"


@pytest.mark.parametrize(("preprocess", "low", "high"), [("raw", 0, 255), ("unit", 0, 1), ("signed", -1, 1)])
def test_preprocess(folder, tmp_path, preprocess, low, high):
    code, _, err = run(
        "explain",
        folder / "photo.png",
        "--model",
        folder / "model.keras",
        "--preprocess",
        preprocess,
        "--out",
        tmp_path,
    )
    assert code == 0, err
    inputs = tfs.Explanation.load(tmp_path / "photo.gradient.npz").inputs
    assert low <= inputs.min() < low + 0.3 * (high - low)
    assert high - 0.3 * (high - low) < inputs.max() <= high


def test_nothing_is_replaced_unasked(folder, tmp_path):
    arguments = ("explain", folder / "photo.png", "--model", folder / "model.keras", "--out", tmp_path)
    assert run(*arguments)[0] == 0
    (tmp_path / "photo.gradient.npz").write_bytes(b"precious")
    code, _, err = run(*arguments)
    assert code == 1
    assert "photo.gradient.png exists, and 1 more. Pass --force" in err
    assert (tmp_path / "photo.gradient.npz").read_bytes() == b"precious"
    assert run(*arguments, "--force")[0] == 0
    assert tfs.Explanation.load(tmp_path / "photo.gradient.npz").values.shape == (1, 16, 16, 3)


def test_a_folder_that_cannot_be_made_is_told_before_any_work(folder, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "maps"
    code, _, err = run("explain", folder / "photo.png", "--model", folder / "none.keras", "--out", out)
    assert code == 1
    assert "file is a file. Give the path of a folder" in err


def test_a_failure_leaves_nothing_half_done(folder, tmp_path):
    photos = (folder / "photo.png", folder / "a b;rm -rf.jpg")
    code, _, err = run(
        "explain", *photos, "--model", folder / "model.keras", "--target", "1,9", "--out", tmp_path / "out"
    )
    assert code == 1
    assert "Received: target 9" in err
    assert not (tmp_path / "out").exists()


def test_a_method_named_twice(folder, tmp_path):
    methods = ("--method", "gradient", "--method", "gradient")
    code, _, err = run("explain", folder / "photo.png", "--model", folder / "model.keras", *methods, "--out", tmp_path)
    assert code == 1
    assert "A method is named twice" in err


def test_photos_of_every_mode(tmp_path):
    grey = np.arange(0, 65536, 256, dtype="uint16").reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    np.testing.assert_allclose(read_photo(tmp_path / "deep.png")[..., 0], grey / 257, atol=0.5)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_photo(tmp_path / "clear.png") == 255).all()
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    assert read_photo(tmp_path / "grey.png").shape == (4, 4, 3)


def png_header(width, height):
    """A PNG that announces its size and holds nothing: decoding it would need gigabytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo": "none.png"}, "There is no photo"),
        ({"photo": "labels.txt"}, "is not a picture of the formats JPEG, PNG"),
        ({"photo": "bomb.png"}, "has too many pixels. At most 80,000,000 are decoded"),
        ({"photo": "large.png"}, "has 9000 x 9000 pixels. At most 80,000,000 are decoded"),
        ({"model": "none.keras"}, "There is no model"),
        ({"model": "labels.txt"}, "A model is a .keras file"),
        ({"model": "model.h5"}, "an .h5 file: loading it can run any code.*--trust-model"),
        ({"model": "saved"}, "a SavedModel folder: loading it can run any code.*--trust-model"),
        ({"model": "zoo:resnet"}, "The zoo has no model 'resnet'"),
        ({"model": "keras:ResNet5"}, "keras.applications has no model 'ResNet5'. It has: .*ResNet50"),
        ({"method": "magic"}, "no method 'magic'. The methods: gradient, "),
        ({"method": "smoothgrad:size=3"}, "no option 'size'. Its options: samples, noise, seed"),
        ({"method": "smoothgrad:samples=x"}, "option 'samples' of 'smoothgrad' is a whole number. Received: 'x'"),
        ({"method": "lrp:strict=maybe"}, "option 'strict' of 'lrp' is true or false. Received: 'maybe'"),
        ({"method": "deep-taylor:low=x"}, "option 'low' of 'deep-taylor' is a number. Received: 'x'"),
        ({"method": "lrp:rules=zplus"}, "rules is one of 'epsilon'"),
        ({"method": "smoothgrad:samples=0"}, "samples is a whole number, at least 1. Received: 0"),
        ({"target": "3"}, "classes 0 to 2. Received: target 3"),
        ({"target": "cat"}, "--target is top, top3, a class number.*Received: 'cat'"),
        ({"target": "1,2"}, "names 2 classes for 1 photos"),
        ({"size": "0"}, "--size is at least 1 and at most 4096. Received: 0"),
        ({"labels": "none.txt"}, "The class names, one per line, cannot be read from .*none.txt: No such file"),
        ({"labels": "latin.txt"}, "latin.txt is not a text in UTF-8"),
        ({"labels": "two.txt"}, "two.txt names 2 classes, one per line. The model answers 3"),
        ({"method": "smoothgrad:samples=5,samples=9"}, "option 'samples' of 'smoothgrad' is given twice"),
        ({"shard": "0/2"}, "--shard, --dtype and --strict are for one folder"),
        ({"dtype": "float16"}, "--shard, --dtype and --strict are for one folder"),
        ({"photo": "saved", "size": "8"}, "--report, --size and --force are for single photos"),
        ({"photo": "saved", "target": "1,2"}, "--target is one for all photos of a folder"),
        ({"size": "1000000"}, "--size is at least 1 and at most 4096. Received: 1000000"),
        ({"model": "broken.keras"}, "broken.keras is damaged, or no file of model.save"),
        ({"model": "lambda.keras"}, "cannot be loaded in safe mode.*A file that holds Python code .* by --trust-model"),
    ],
)
def test_bad_input_gets_a_message(folder, tmp_path, capsys, change, message):
    """Within this process, which has loaded TensorFlow; that a process says the same is tested once, below."""
    (folder / "bomb.png").write_bytes(png_header(60000, 60000))
    (folder / "large.png").write_bytes(png_header(9000, 9000))
    (folder / "two.txt").write_text("one\ntwo\n", encoding="utf-8")
    options = {"photo": "photo.png", "model": "model.keras"} | change
    photo = folder / options.pop("photo")
    arguments = ["explain", photo]
    for name, value in options.items():
        path = folder / value
        arguments += [f"--{name}", path if name in ("model", "labels") and ":" not in value else value]
    code = main([*map(str, arguments), "--out", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("tfsaliency: error: ")
    assert re.search(message, last)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "tfsaliency", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == tfs.__version__


def test_a_process_fails_with_a_message(tmp_path):
    code, out, err = run("explain", "none.png", "--model", "none.keras", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err.strip().splitlines()[-1].startswith("tfsaliency: error: There is no model")


@pytest.mark.parametrize("model", ["model.h5", "saved", "lambda.keras"])
def test_trusted_models(folder, tmp_path, model):
    code, _, err = run(
        "explain",
        folder / "photo.png",
        *("--model", folder / model, "--trust-model", "--target", "1", "--out", tmp_path),
    )
    assert code == 0, err
    values = tfs.Explanation.load(tmp_path / "photo.gradient.npz").values
    expected = keras.saving.load_model(folder / "model.keras").get_layer("head").kernel.numpy()[:, 1]
    np.testing.assert_allclose(values.ravel(), expected, rtol=1e-5)


def test_tensorflow_does_not_greet_on_the_error_stream(folder, tmp_path):
    """Neither while it is imported nor when it first computes; what goes wrong is still said."""
    before = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", "import sys; from tfsaliency.cli import main; sys.exit(main(sys.argv[1:]))"]
    explain = ["explain", folder / "photo.png", "--model", folder / "model.keras", "--out", tmp_path]
    for arguments in (["methods"], explain, ["explain", "none.png", "--model", "none.keras"]):
        ran = subprocess.run([*command, *map(str, arguments)], env=before, capture_output=True, text=True)
        lines = [line for line in ran.stderr.splitlines() if "explaining" not in line and line.strip()]
        expected = ["tfsaliency: error: There is no model 'none.keras'."] if ran.returncode else []
        assert [line[: len(each)] for line, each in zip(lines, expected, strict=True)] == expected, ran.stderr


def test_help_and_methods_do_not_wait_for_tensorflow():
    code = "import sys; from tfsaliency.cli import main; main(['methods']); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_usage_error():
    code, _, err = run("explain")
    assert code == 2
    assert "usage: tfsaliency explain" in err


def test_methods_lists_every_method():
    code, out, _ = run("methods")
    assert code == 0
    assert "smoothgrad:samples=50,noise=0.15,seed=0" in out
    assert "Vanilla saliency" in out


def test_report_of_all_photos(folder, tmp_path):
    command = ["explain", folder / "photo.png", folder / "a b;rm -rf.jpg", "--model", folder / "model.keras"]
    command += ["--labels", folder / "labels.txt", "--out", tmp_path / "maps", "--report", tmp_path / "pages/all.html"]
    assert main([str(each) for each in command]) == 0
    html = (tmp_path / "pages/all.html").read_text(encoding="utf-8")
    assert "<h2>photo.png</h2>" in html
    assert "<h2>a b;rm -rf.jpg</h2>" in html
    assert html.count("<img") == 2
    # The page is one of the files that are never replaced unasked.
    shutil.rmtree(tmp_path / "maps")
    assert main([str(each) for each in command]) == 1
    assert not (tmp_path / "maps").exists()


def test_the_top_classes(folder, tmp_path, capsys):
    command = [
        "explain",
        folder / "photo.png",
        "--model",
        folder / "model.keras",
        "--target",
        "top2",
        "--out",
        tmp_path,
    ]
    assert main([str(each) for each in [*command, "--report", tmp_path / "top.html"]]) == 0
    table = capsys.readouterr().out
    explanation = tfs.Explanation.load(tmp_path / "photo.gradient.npz")
    assert explanation.scores.shape == (1, 2) and explanation.scores[0, 0] > explanation.scores[0, 1]
    for score in explanation.scores[0]:
        assert f"{score:.3f}" in table
    assert (tmp_path / "top.html").read_text(encoding="utf-8").count('type="radio"') == 2
    # A comparison is of one target, and says so.
    arguments = ["compare", *command[1:], "--method", "gradient"]
    assert main([str(each) for each in arguments]) == 1
    assert "compare explains one target. Received: target.each" in capsys.readouterr().err


def test_a_report_is_html(folder, tmp_path, capsys):
    photo, model = str(folder / "photo.png"), str(folder / "model.keras")
    assert main(["explain", photo, "--model", model, "--out", str(tmp_path), "--report", "map.pdf"]) == 1
    assert "ends in .html" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_compare(folder, tmp_path):
    """The table on the screen is that of the files, and of the library."""
    arguments = ["compare", folder / "photo.png", folder / "a b;rm -rf.jpg", "--model", folder / "model.keras"]
    arguments += ["--method", "gradient", "--method", "gradient-times-input", "--out", tmp_path]
    arguments += ["--metric", "deletion:fill=mean,steps=5", "--metric", "mufidelity:masks=20", "--metric", "gini"]
    code, out, err = run(*arguments)
    assert (code, "error" in err) == (0, False), err
    assert out == (tmp_path / "table.txt").read_text(encoding="utf-8")
    table = tfs.metrics.Comparison.load(tmp_path / "table.npz")
    assert f"{table}\n" == out
    assert table.metrics[0] == "Deletion(fill=mean(), steps=5, first='most')"
    model = keras.saving.load_model(folder / "model.keras")
    from tfsaliency.base.pictures import centre_crop

    photos = [centre_crop(read_photo(folder / name), 16, 16) for name in ("photo.png", "a b;rm -rf.jpg")]
    explanation = tfs.GradientTimesInput(model).explain(np.stack(photos).astype("float32"))
    expected = tfs.metrics.Deletion(model, tfs.baselines.mean(), 5).measure(explanation).values
    np.testing.assert_allclose(table.values[1, 0], expected, atol=1e-5)
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".npz", ".png", ".html"}
    code, _, err = run(*arguments)
    assert code == 1
    assert "--force" in err


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("delation", "There is no metric 'delation'. Did you mean 'deletion'? The metrics: deletion, insertion"),
        ("nonsense", "There is no metric 'nonsense'. The metrics: deletion, insertion"),
        ("deletion:stride=2", "The metric 'deletion' has no option 'stride'"),
        ("deletion:fill=red", "'fill' is a number, blur or mean"),
    ],
)
def test_a_metric_that_is_none(folder, tmp_path, capsys, metric, message):
    arguments = ["compare", folder / "photo.png", "--model", folder / "model.keras", "--out", tmp_path / "out"]
    assert main([*map(str, arguments), "--metric", metric]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- a folder of photographs ---


def photos_in(path, count=5):
    path.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (count, 20, 20, 3), "uint8")
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(path / f"{number}.png")
    return path


def test_a_folder_is_explained_into_parquet_files(folder, tmp_path):
    photos, out = photos_in(tmp_path / "photos"), tmp_path / "maps.parquet"
    (photos / "broken.png").write_bytes(b"no picture")
    command = ["explain", photos, "--model", folder / "model.keras", "--target", "2", "--out", out]
    code, printed, err = run(*command)
    assert code == 0, err
    assert "maps.parquet: 5 pictures explained, complete" in printed
    assert "not explained: broken.png" in printed
    maps = tfs.read_explanations(out)
    pixels = np.stack([np.asarray(Image.open(photos / name)) for name in maps.ids])
    model = keras.saving.load_model(folder / "model.keras")
    from tfsaliency.base.pictures import centre_crop

    x = np.stack([centre_crop(each, 16, 16) for each in pixels]).astype("float32")
    np.testing.assert_allclose(maps[:].values, tfs.Gradient(model).explain(x, 2).values, rtol=1e-5, atol=1e-8)
    code, printed, err = run(*command)
    assert code == 0 and "5 pictures explained, complete" in printed
    code, _, err = run(*command[:4], "--target", "1", "--out", out)
    assert code == 1 and "holds the explanations of another call: target was 2 and is 1" in err
    code, _, err = run(*command, "--strict", "--dtype", "float16")
    assert code == 1 and "dtype was" in err


def test_shards_of_a_folder_by_several_methods(folder, tmp_path):
    photos, out = photos_in(tmp_path / "photos"), tmp_path / "maps"
    command = ["explain", photos, "--model", folder / "model.keras", "--out", out, "--method", "gradient"]
    command += ["--method", "smoothgrad:samples=2"]
    code, printed, err = run(*command, "--shard", "0/2")
    assert code == 0, err
    assert printed.count("5 pictures explained, complete") == 2
    assert len(tfs.read_explanations(out / "gradient")) == 5
    for wrong in ("2/2", "1", "a/b"):
        code, _, err = run(*command, "--shard", wrong)
        assert code == 1 and "shard is" in err


@pytest.mark.parametrize(("names", "advice"), [(["a.png", "b.png"], r"/\*.png"), ([], r"/\*.jpg")])
def test_a_folder_is_told_with_the_photos_that_it_has(tmp_path, names, advice):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(IsADirectoryError, match=advice):
        read_photo(tmp_path)
