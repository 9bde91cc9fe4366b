"""Metrics of pictures: mosaics, pixels guessed from their neighbours, and segments."""

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.metrics.harness import PICTURES, picture_model, with_map
from tfsaliency.metrics.irof import segments_of
from tfsaliency.metrics.road import imputed, neighbours_of

GENERATOR = np.random.default_rng(0)


def colours():
    """A model whose logit of each class is the sum of one channel, and pictures with nothing in the other channels."""
    model = keras.Sequential([keras.Input((9, 8, 5)), layers.GlobalAveragePooling2D()])
    model.add(layers.Dense(5, use_bias=False))
    model.layers[-1].set_weights([np.eye(5)])
    pictures = np.zeros((5, 9, 8, 5), "float32")
    for number in range(5):
        pictures[number, ..., number] = GENERATOR.uniform(0.5, 1, (9, 8))
    return model, pictures


@pytest.mark.parametrize("across", [2])
def test_relevance_in_a_mosaic_is_in_the_right_cell(across):
    """Gradient times input is where the colour is. The gradient is the same everywhere, and gets the cell's share."""
    model, pictures = colours()
    exact, even = tfs.GradientTimesInput(model), tfs.Gradient(model)
    found = tfs.metrics.GridPointingGame(exact, across).measure(exact.explain(pictures))
    np.testing.assert_allclose(found.values, 1, atol=1e-6)
    np.testing.assert_allclose(found.chance, 1 / across**2)
    shares = tfs.metrics.GridPointingGame(even, across).measure(even.explain(pictures)).values
    cells = [rows * columns / 72 for rows in (4, 5) for columns in (4,)]
    assert all(min(abs(share - cell) for cell in cells) < 1e-6 for share in shares)


def test_a_mosaic_needs_pictures_of_other_classes():
    model, pictures = colours()
    explainer = tfs.GradientTimesInput(model)
    few = tfs.metrics.GridPointingGame(explainer).measure(explainer.explain(pictures[:3]))
    assert np.isnan(few.values).all()
    table = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(tfs.metrics.InapplicableError, match="Mosaics are made of pictures"):
        tfs.metrics.GridPointingGame(tfs.Gradient(table)).measure(tfs.Gradient(table).explain(np.ones((1, 3))))


def test_a_removed_pixel_is_the_mean_of_its_neighbours():
    """Each equation of the system holds, at borders and in corners too, against a loop over neighbours."""
    picture = GENERATOR.normal(size=(7, 6, 2)).astype("float32")
    removed = GENERATOR.uniform(size=(7, 6)) < 0.6
    filled = imputed(picture, removed, np.zeros(picture.shape), neighbours_of(7, 6))
    np.testing.assert_array_equal(filled[~removed], picture[~removed])
    for row, column in np.argwhere(removed):
        total, weights = np.zeros(2), 0.0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                inside = 0 <= row + down < 7 and 0 <= column + right < 6
                if not (down or right) or not inside:
                    continue
                weight = 1 / 12 if down and right else 1 / 6
                total += weight * filled[row + down, column + right]
                weights += weight
        np.testing.assert_allclose(filled[row, column], total / weights, atol=1e-5)
    noise = GENERATOR.normal(size=picture.shape)
    noisy = imputed(picture, removed, noise, neighbours_of(7, 6))
    np.testing.assert_allclose(noisy[removed], (filled + noise)[removed], atol=1e-5)


def test_road_is_the_mean_gap_of_two_orders():
    model = picture_model()
    explanation = tfs.GradientTimesInput(model).explain(PICTURES)
    metric = tfs.metrics.ROAD(model, shares=(0.3, 0.6), noise=0)
    found = metric.measure(explanation)
    for number, picture in enumerate(PICTURES):
        relevance = explanation.values[number].sum(axis=-1).reshape(-1)
        gaps = []
        for share in (0.3, 0.6):
            count = round(share * 120)
            scores = []
            for order in (np.argsort(-relevance), np.argsort(relevance)):
                removed = np.zeros(120, bool)
                removed[order[:count]] = True
                filled = imputed(picture, removed.reshape(12, 10), np.zeros(picture.shape), neighbours_of(12, 10))
                scores.append(model(filled[None]).numpy()[0, explanation.target[number]])
            gaps.append(scores[1] - scores[0])
        assert found.values[number] == pytest.approx(np.mean(gaps), abs=1e-5)
    inverse = metric.measure(with_map(explanation, -explanation.values))
    np.testing.assert_allclose(inverse.values, -found.values, atol=1e-5)


def test_road_needs_pixels_that_are_left():
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    explanation = tfs.Gradient(model).explain(np.random.default_rng(0).uniform(size=(1, 2, 2, 3)), 1)
    with pytest.raises(ValueError, match="pictures of 4 pixels, of which none is left. Give smaller shares"):
        tfs.metrics.ROAD(model).measure(explanation)
    tfs.metrics.ROAD(model, shares=(0.3, 0.5)).measure(explanation)


def test_irof_hides_segments_by_their_mean():
    model = picture_model()
    # Patches of one colour, with a little noise: segments of noise alone have no form.
    patches = np.kron(GENERATOR.normal(size=(3, 3, 2, 3)), np.ones((1, 4, 5, 1)))
    pictures = (patches + 0.05 * PICTURES).astype("float32")
    explanation = tfs.GradientTimesInput(model).explain(pictures)
    found = tfs.metrics.IROF(model, 0.0, segments=8).measure(explanation)
    for number, picture in enumerate(pictures):
        labels = segments_of(picture, 8).reshape(12, 10)
        count = labels.max() + 1
        assert count > 3
        relevance = explanation.values[number].sum(axis=-1)
        order = sorted(range(count), key=lambda each: -relevance[labels == each].mean())
        seen, curve = picture.copy(), []
        for segment in [None, *order]:
            seen[labels == segment] = 0
            curve.append(model(seen[None]).numpy()[0, explanation.target[number]])
        expected = 1 - np.trapezoid(np.array(curve) / curve[0]) / count
        assert found.values[number] == pytest.approx(expected, abs=1e-5)
    of_logits = tfs.Gradient(model).explain(PICTURES, lambda z: z[:, 0])
    with pytest.raises(tfs.metrics.InapplicableError, match="IROF compares probabilities"):
        tfs.metrics.IROF(model).measure(of_logits, lambda z: z[:, 0])
