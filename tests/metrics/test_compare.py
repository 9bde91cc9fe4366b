"""Tables of methods and controls."""

import keras
import numpy as np
import pandas
import pytest
from keras import layers

import tfsaliency as tfs
from tests.metrics.harness import PICTURES, picture_model
from tfsaliency.base import archive
from tfsaliency.engine.scorer import Choice
from tfsaliency.metrics.controls import controls_of

MU = tfs.metrics.MuFidelity


@pytest.fixture(scope="module")
def linear():
    """A linear model of a table, which gradient times input explains exactly, and 24 rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), layers.Dense(3)])
    return model, np.random.default_rng(0).normal(size=(24, 16)).astype("float32")


@pytest.fixture(scope="module")
def table(linear):
    model, x = linear
    return tfs.metrics.compare(
        [tfs.GradientTimesInput(model), tfs.DeepLIFT(model), tfs.Gradient(model)],
        x,
        metrics=[MU, tfs.metrics.Deletion, tfs.metrics.Entropy],
    )


def test_the_true_map_is_best_and_its_equal_is_not_told_apart(table):
    for column in table.columns[:2]:
        assert table.methods[column.best] == "GradientTimesInput"
        assert column.is_tied(1)
        assert table.mark(0, column) == "*"
        assert table.mark(1, column) == "="
        assert not column.is_tied(2)
        assert "!" in table.mark(2, column)
        assert column.behind[2] > 0
        assert column.behind_low[2] > 0
    np.testing.assert_allclose(table.columns[0].means[:2], 1, atol=1e-6)


def test_controls_get_what_controls_get(table):
    """Noise gets nothing, and the inverse is as bad as the map is good."""
    column = table.columns[0]
    row = table.rows.index("random")
    assert column.low[row] < 0 < column.high[row]
    assert column.means[table.rows.index("the inverse map")] == pytest.approx(-1)
    # A table has no space: no smooth noise, no centre, no edges.
    assert table.controls == ("random", "another sample's map", "another class's map", "the inverse map")


def test_a_metric_of_no_quality_ranks_nothing(table):
    column = table.columns[2]
    assert column.best is None
    assert all(table.mark(row, column) == "" for row in range(len(table.rows)))
    assert "(3) Entropy: no quality" in str(table)


def test_rows_are_what_each_metric_says_alone(linear, table):
    model, x = linear
    for row, method in enumerate((tfs.GradientTimesInput, tfs.DeepLIFT, tfs.Gradient)):
        alone = MU(model).measure(method(model).explain(x)).values
        np.testing.assert_allclose(table.values[row, 0], alone, atol=1e-6)


def test_the_text_of_a_table(table):
    lines = str(table).splitlines()
    assert lines[0].split() == ["(1)", "MuFidelity", "(2)", "Deletion", "(3)", "Entropy", "seconds"]
    assert lines[1].split()[:4] == ["GradientTimesInput", "1.00", "[1.00,", "1.00]"]
    assert set(lines[4]) == {"-"}
    assert "Means over 24 samples" in str(table)
    assert f"Kendall's W, 0 to 1): {table.agreement:.2f}" in str(table)


def test_a_data_frame(table):
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == table.values.size
    one = frame[(frame.row == "DeepLIFT") & (frame.metric == table.metrics[1])]
    np.testing.assert_array_equal(one.value, table.values[1, 1])
    assert frame[frame.row == "random"].control.all()


def test_files_come_back_and_damage_is_found(table, tmp_path):
    path = tmp_path / "table.npz"
    table.save(path)
    again = tfs.metrics.Comparison.load(path)
    assert str(again) == str(table)
    np.testing.assert_array_equal(again.values, table.values)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold a comparison that this version reads: .* changed|damaged"):
        tfs.metrics.Comparison.load(path)
    with pytest.raises(ValueError, match="ends in .npz"):
        table.save(tmp_path / "table.csv")


def test_what_is_no_file_of_a_comparison_is_said(linear, table, tmp_path):
    model, x = linear
    folder, foreign, arrays, newer = (tmp_path / f"{name}.npz" for name in ("folder", "foreign", "arrays", "newer"))
    folder.mkdir()
    tfs.Gradient(model).explain(x).save(foreign)
    np.savez(arrays, values=np.ones(3))
    with open(newer, "wb") as file:
        archive.write(file, {"kind": "Comparison", "format": 2}, {})
    for path, reason in (
        (folder, "it is a folder or a device"),
        (foreign, "it is of the kind 'Explanation', and the kind 'Comparison' is read"),
        (arrays, "it has no record"),
        (newer, "it has format 2, and the format 1 is read"),
    ):
        with pytest.raises(ValueError) as raised:
            tfs.metrics.Comparison.load(path)
        assert str(raised.value) == f"{path} does not hold a comparison that this version reads: {reason}"
        with pytest.raises(ValueError, match="does not hold a comparison"):
            tfs.metrics.compare([tfs.Gradient(model)], x, metrics=[MU], path=path)
    with pytest.raises(FileNotFoundError):
        tfs.metrics.Comparison.load(tmp_path / "none.npz")
    table.save(tmp_path / "table.npz")
    with pytest.raises(ValueError, match="it is of the kind 'Comparison', and the kinds"):
        tfs.Explanation.load(tmp_path / "table.npz")


def test_the_target_is_told_in_words(linear):
    model, x = linear
    for target, text in ((None, "the top class"), (2, "class 2"), ([0, 1] * 12, f"classes {[0, 1] * 12}")):
        explanation = tfs.Gradient(model).explain(x, target)
        table = tfs.metrics.compare([tfs.Gradient(model)], x, target, metrics=[tfs.metrics.Gini], controls=False)
        assert table.provenance["target"] == explanation.provenance["target"] == text


def test_what_is_measured_already_is_not_measured_again(linear, tmp_path, monkeypatch):
    model, x = linear
    path = tmp_path / "table.npz"

    def run(metrics):
        return tfs.metrics.compare([tfs.Gradient(model)], x, metrics=metrics, path=path)

    class Broken(MU):
        def measure_each(self, explanations, target=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([tfs.metrics.Deletion, Broken])
    asked = []
    whole = tfs.metrics.Deletion.told
    monkeypatch.setattr(tfs.metrics.Deletion, "told", lambda *given: asked.append(given) or whole(*given))
    monkeypatch.setattr(Broken, "measure_each", MU.measure_each)
    again = run([tfs.metrics.Deletion, Broken])
    assert asked == []
    assert not np.isnan(again.values).any()
    with pytest.raises(ValueError, match="holds another comparison: metrics was"):
        run([tfs.metrics.Deletion])


FIRST = np.arange(16) < 5
OTHERS = {
    "inputs": lambda model, x: ([tfs.DeepLIFT(model)], x[::-1], None, [MU]),
    "target": lambda model, x: ([tfs.DeepLIFT(model)], x, 1, [MU]),
    "methods/DeepLIFT/baseline": lambda model, x: ([tfs.DeepLIFT(model, baseline=3.0)], x, None, [MU]),
    "metrics/0/fill": lambda model, x: ([tfs.DeepLIFT(model)], x, None, [MU(model, fill=np.full(16, 3.0))]),
    "metrics/0/fill/code": lambda model, x: ([tfs.DeepLIFT(model)], x, None, [MU(model, fill=lambda x: x * 0 + 3)]),
    "metrics/0/where": lambda model, x: (
        [tfs.DeepLIFT(model)],
        x,
        None,
        [tfs.metrics.RelevanceMass(~FIRST + 0 * x > 0)],
    ),
}
SAME = {
    "metrics/0/fill": lambda model: MU(model, fill=np.zeros(16)),
    "metrics/0/fill/code": lambda model: MU(model, fill=lambda x: x * 0),
    "metrics/0/where": lambda model: tfs.metrics.RelevanceMass(FIRST + np.zeros((24, 16)) > 0),
}


@pytest.mark.parametrize("option", OTHERS)
def test_a_file_of_another_comparison_is_refused(option, linear, tmp_path):
    """Its names are the same, and its numbers would be handed out for others."""
    model, x = linear
    first = SAME[option](model) if option in SAME else MU
    path = tmp_path / "table.npz"
    table = tfs.metrics.compare([tfs.DeepLIFT(model)], x, metrics=[first], path=path)
    explainers, inputs, target, metrics = OTHERS[option](model, x)
    with pytest.raises(ValueError, match=f"holds another comparison: .*{option}.* was .* and is"):
        tfs.metrics.compare(explainers, inputs, target, metrics, path=path)
    again = tfs.metrics.compare([tfs.DeepLIFT(model)], x, metrics=[first], path=path)
    np.testing.assert_array_equal(again.values, table.values)


class Scaled:
    """A function that holds its numbers where nothing of Python shows them, as one written in C does."""

    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return self.scale * np.asarray(x)


def test_a_file_of_another_function_is_refused(tmp_path):
    """Nothing but what it says shows that it is another one."""
    x = np.random.default_rng(0).normal(size=(21, 4)).astype("float32")

    def compared(scale):
        explainers = [tfs.Occlusion(tfs.BlackBox(Scaled(scale)), window=1)]
        return tfs.metrics.compare(explainers, x, 0, [tfs.metrics.Deletion], path=tmp_path / "table.npz")

    compared(1.0)
    with pytest.raises(ValueError, match="holds another comparison: the model gives other scores"):
        compared(2.0)


def test_controls_of_pictures():
    model = picture_model()
    explainer = tfs.Gradient(model)
    explanation = explainer.explain(PICTURES)
    chosen = Choice(model).chosen(PICTURES)
    made = controls_of([explanation], explainer, chosen, seed=0)
    relevance = explanation.values.sum(axis=-1)
    np.testing.assert_allclose(made["the inverse map"].values[..., 0], -relevance, atol=1e-6)
    np.testing.assert_allclose(made["another sample's map"].values[1, ..., 0], relevance[0], atol=1e-6)
    centre = made["centre"].values[0, ..., 0]
    np.testing.assert_allclose(centre, centre[::-1, ::-1], atol=1e-7)
    rows, columns = np.mgrid[:12, :10]
    np.testing.assert_allclose(centre, np.exp(-(((rows - 5.5) / 3) ** 2 + ((columns - 4.5) / 2.5) ** 2) / 2), rtol=1e-5)
    # The best other class, of the logits.
    probabilities = model(PICTURES).numpy()
    other = probabilities.argsort(axis=1)[:, -2]
    of_other = explainer.explain(PICTURES, other).values.sum(axis=-1)
    np.testing.assert_allclose(made["another class's map"].values[..., 0], of_other, atol=1e-6)
    step = np.zeros((1, 12, 10, 3), "float32")
    step[:, :, 5:] = 1
    edges = controls_of([explainer.explain(step)], explainer, Choice(model).chosen(step), seed=0)["edges"].values
    assert (np.flatnonzero(edges[0, 6, :, 0]) == [4, 5]).all()


def test_smooth_noise_has_the_autocorrelation_of_the_maps():
    """Over many draws its power spectrum is that of the map."""
    model = picture_model()
    explainer = tfs.GradCAM(model)
    pictures = np.repeat(PICTURES[:1], 400, axis=0)
    explanation = explainer.explain(pictures, 0)
    chosen = Choice(model).chosen(pictures, 0)
    noise = controls_of([explanation], explainer, chosen, seed=0)["random, as smooth"].values[..., 0]
    spectra = [
        np.abs(np.fft.fftn(each - each.mean(axis=(1, 2), keepdims=True), axes=(1, 2))) ** 2
        for each in (noise, explanation.values[..., 0])
    ]
    found, wanted = (each.mean(axis=0) / each.mean(axis=0).sum() for each in spectra)
    assert np.abs(found - wanted).sum() < 0.2
    assert np.abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.9


def test_metrics_of_an_explainer_are_asked_of_each(linear):
    model, x = linear
    kept = tfs.metrics.MaxSensitivity(tfs.Gradient(model), samples=2)
    table = tfs.metrics.compare([tfs.Gradient(model), tfs.GradientTimesInput(model)], x, metrics=[kept])
    np.testing.assert_allclose(table.values[0, 0], 0, atol=1e-6)
    assert (table.values[1, 0] > 0).all()
    assert np.isnan(table.values[2:, 0]).all()
    assert table.cell(2, table.columns[0]) == "-"


def test_a_metric_says_nothing_about_some_methods(linear):
    model, x = linear
    gap = tfs.metrics.CompletenessGap
    absolute = tfs.Gradient(model).then(tfs.transforms.absolute)
    table = tfs.metrics.compare({"exact": tfs.DeepLIFT(model), "sizes": absolute}, x, metrics=[gap])
    assert table.columns[0].means[0] < 1e-4
    assert np.isnan(table.columns[0].means[1])


def test_figure_and_page(table, tmp_path):
    figure = table.plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == [
        "(1) MuFidelity: higher is better",
        "(2) Deletion: lower is better",
        "(3) Entropy: no quality",
    ]
    table.report(tmp_path / "table.html")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert table.cell(0, table.columns[0]) in page
    assert page.count("<tr") == 1 + len(table.rows)
    with pytest.raises(ValueError, match=r"ends in \.html"):
        table.report(tmp_path / "table.txt")


def test_what_cannot_be_compared_is_refused(linear):
    model, x = linear
    other = keras.models.clone_model(model)
    for explainers, message in (
        ([], "at least one"),
        ([model], "compare takes explainers"),
        (tfs.Gradient(model), "compare takes a list or a dict of explainers. Received: Gradient"),
        ([tfs.Gradient(model), tfs.LRP(other)], "compare explains one model"),
        ([tfs.Gradient(model), tfs.Gradient(model)], "Two explainers have one name"),
    ):
        with pytest.raises(ValueError, match=message):
            tfs.metrics.compare(explainers, x)
    with pytest.raises(ValueError, match="Compare once for each"):
        tfs.metrics.compare([tfs.Gradient(model)], x, tfs.target.each([0, 1]))


@pytest.mark.parametrize(
    ("metrics", "received"),
    [
        (["deletion"], "'deletion'"),
        ("deletion", "'deletion'"),
        (tfs.metrics.Gini, ".*Gini"),
        (tfs.metrics.Gini(), "Gini"),
    ],
)
def test_metrics_are_a_list_of_metrics(linear, metrics, received):
    model, x = linear
    with pytest.raises(TypeError, match=rf"as \[tfs.metrics.Deletion\]. Received: {received}"):
        tfs.metrics.compare([tfs.Gradient(model)], x, metrics=metrics)
