"""KerasHub's networks for language, sound and pictures, small and with random weights: dicts of ids and masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.harness import quick

if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
    pytest.skip("KerasHub needs Keras 3.15", allow_module_level=True)
import keras_hub as hub  # noqa: E402

IDS = np.array([[2, 5, 6, 7, 8, 3, 0, 0], [2, 9, 4, 6, 3, 0, 0, 0]])
TEXT = {"token_ids": IDS, "padding_mask": (IDS > 0).astype("int32")}
SIZES = {"vocabulary_size": 30, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1, 0, 0]] * 2)
BOTH = {
    f"{side}_{name}": part
    for side in ("encoder", "decoder")
    for name, part in (("token_ids", IDS), ("padding_mask", TEXT["padding_mask"]))
}
SOUND = np.random.default_rng(0).uniform(size=(2, 20, 8)).astype("float32")


def classifier(kind, backbone, **inputs):
    made = getattr(hub.models, f"{backbone}Backbone")(num_heads=2, max_sequence_length=8, **SIZES)
    return kind(made, num_classes=3, preprocessor=None), TEXT | inputs, lambda z: z[:, 1]


def causal(kind, backbone, **options):
    made = getattr(hub.models, f"{backbone}Backbone")(**SIZES, **options)
    return kind(made, preprocessor=None), TEXT, lambda z: z[:, 4, 7]


def of_a_decoder(model, inputs):
    return model, inputs, lambda z: z["decoder_sequence_output"][:, 3, 0]


MODELS = {
    "BERT": lambda: classifier(hub.models.BertTextClassifier, "Bert", segment_ids=SEGMENTS),
    "DistilBERT": lambda: classifier(hub.models.DistilBertTextClassifier, "DistilBert"),
    "RoBERTa": lambda: classifier(hub.models.RobertaTextClassifier, "Roberta"),
    "GPT-2": lambda: causal(hub.models.GPT2CausalLM, "GPT2", num_heads=2, max_sequence_length=8),
    "Gemma": lambda: causal(hub.models.GemmaCausalLM, "Gemma", num_query_heads=2, num_key_value_heads=1, head_dim=8),
    "T5": lambda: of_a_decoder(hub.models.T5Backbone(num_heads=2, **SIZES), BOTH),
    "Whisper": lambda: of_a_decoder(
        hub.models.WhisperBackbone(
            num_heads=2, max_encoder_sequence_length=20, max_decoder_sequence_length=8, num_mels=8, **SIZES
        ),
        {"encoder_features": SOUND, **{name: BOTH[name] for name in ("decoder_token_ids", "decoder_padding_mask")}},
    ),
}
METHODS = {
    "SmoothGrad": lambda model: tfs.SmoothGrad(model, samples=3),
    "LRP": lambda model: tfs.LRP(model, "attention"),
    "GuidedBackprop": tfs.GuidedBackprop,
    "Occlusion": lambda model: tfs.Occlusion(model, window=1, stride=1),
    "RISE": lambda model: tfs.RISE(model, samples=10),
    "ExpectedGradients": lambda model: tfs.ExpectedGradients(model, samples=10),
}


# T5's own attention warns of the masks that Keras hands on.
pytestmark = pytest.mark.filterwarnings("ignore:Layer '.*attention' .* was passed an input with a mask")


def enlarge(model):
    """Weights as large as those of a trained network: the small ones to begin with make maps of rounding."""
    generator = np.random.default_rng(0)
    model.set_weights(
        [weight + 0.3 * generator.normal(size=weight.shape) * (weight.ndim > 1) for weight in model.get_weights()]
    )


@pytest.fixture(scope="module", params=quick(MODELS, "BERT", "GPT-2", "Gemma", "T5", "Whisper"))
def case(request):
    keras.utils.set_random_seed(0)
    model, inputs, target = MODELS[request.param]()
    enlarge(model)
    return model, inputs, target


def tables(model):
    """The layers that look up the vectors of the tokens."""
    named = [layer for layer in model._flatten_layers() if "token_embedding" in layer.name]
    return [layer for layer in named if isinstance(layer, keras.layers.Embedding)]


def by_hand(model, inputs, target):
    """Gradients at what a table gives for each of its calls, by an eager tape."""
    (table,) = tables(model)
    vectors = []
    original = type(table).call

    def watched(layer, given, *arguments, **options):
        made = original(layer, given, *arguments, **options)
        if layer is table and made.shape.rank == 3 and given.dtype.is_integer:
            tape.watch(made)
            vectors.append(made)
        return made

    type(table).call = watched
    try:
        with tf.GradientTape() as tape:
            outputs = model({name: tf.constant(part) for name, part in inputs.items()}, training=False)
            score = target(outputs)
        return tape.gradient(score, vectors)
    finally:
        type(table).call = original


def test_gradients_are_those_at_the_table(case):
    model, inputs, target = case
    explanation = tfs.Gradient(model).explain(inputs, target)
    names = [name for name in inputs if name.endswith("token_ids")]
    expected = by_hand(model, inputs, target)
    assert len(expected) == len(names)
    found = sorted((explanation.values[name] for name in names), key=lambda part: float(part.sum()))
    lengths = sorted((np.linalg.norm(part, axis=-1) for part in expected), key=lambda part: float(part.sum()))
    for one, other in zip(found, lengths, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * other.max())


def test_paths_and_multipliers_are_complete(case):
    model, inputs, target = case
    for explainer, share in ((tfs.IntegratedGradients(model, steps=300), 5e-3), (tfs.DeepLIFT(model), 1e-4)):
        explanation = explainer.explain(inputs, target)
        sizes = sum(np.abs(part).reshape(2, -1).sum(1) for part in explanation.values.values())
        assert (sizes > 0).all()
        assert (np.abs(explanation.diagnostics["completeness_gap"]) < share * sizes).all()


def test_masks_and_segments_get_nothing_and_are_named(case):
    model, inputs, target = case
    explanation = tfs.Gradient(model).explain(inputs, target)
    held = {name for name in inputs if "mask" in name or "segment" in name}
    assert set(explanation.provenance["held"]) == held
    for name in held:
        assert (explanation.values[name] == 0).all()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_takes_them(case, method):
    model, inputs, target = case
    explanation = method(model).explain(inputs, target)
    for name, part in inputs.items():
        assert explanation.values[name].shape[:2] == part.shape[:2]
        assert (np.abs(explanation.values[name]).max() > 0) != (name in explanation.provenance["held"])


@pytest.mark.parametrize("name", ["GPT-2", "Gemma"])
def test_later_tokens_have_no_say(name):
    """The answer at a place of a causal network is explained by the tokens up to there, and exactly by no later one."""
    keras.utils.set_random_seed(0)
    model, inputs, target = MODELS[name]()
    for explainer in (tfs.Gradient, tfs.IntegratedGradients, tfs.DeepLIFT, METHODS["LRP"]):
        values = explainer(model).explain(inputs, target).values["token_ids"]
        assert (values[:, 5:] == 0).all()
        assert (values[:, :5] != 0).all()


@pytest.fixture(scope="module", params=["GPT-2", "Gemma"])
def writer(request):
    keras.utils.set_random_seed(0)
    model, inputs, _ = MODELS[request.param]()
    enlarge(model)
    return model, inputs


LENGTHS = TEXT["padding_mask"].sum(axis=1)


def test_the_next_token_against_the_runner_up(writer):
    """Without a target, at the last position; in a batch of texts of different lengths, where each of them ends."""
    model, inputs = writer
    said = r"in the samples \[0, 1\] that is padding, by inputs\['padding_mask'\]. Say where each text ends"
    with pytest.warns(UserWarning, match=said):
        assert tfs.Gradient(model).explain(inputs).provenance["target"] == "contrast()"
    explanation = tfs.Gradient(model).explain(inputs, tfs.target.contrast(position=LENGTHS - 1))
    said = model({name: tf.constant(part) for name, part in inputs.items()}, training=False).numpy()
    ranked = np.argsort(-said[np.arange(2), LENGTHS - 1], axis=-1)
    np.testing.assert_array_equal(explanation.target, ranked[:, 0])
    np.testing.assert_array_equal(explanation.diagnostics["foil"], ranked[:, 1])

    def margin(z):
        rows = [z[n, LENGTHS[n] - 1, ranked[n, 0]] - z[n, LENGTHS[n] - 1, ranked[n, 1]] for n in (0, 1)]
        return tf.stack(rows)

    (expected,) = by_hand(model, inputs, margin)
    norms = np.linalg.norm(expected, axis=-1)
    # A table that is tied to the output is also read there: no vector that is looked up.
    np.testing.assert_allclose(explanation.values["token_ids"], norms, rtol=1e-4, atol=1e-5 * norms.max())


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.GradientTimesInput, tfs.DeepLIFT])
def test_no_token_depends_on_what_comes_later(writer, method):
    model, inputs = writer
    matrix = method(model).explain(inputs, tfs.target.tokens(IDS[:, 1:4], first=0)).values["token_ids"]
    assert matrix.shape == (2, 3, 8)
    for row in range(3):
        assert (matrix[:, row, row + 1 :] == 0).all()
        assert (matrix[:, row, : row + 1] != 0).any(axis=1).all()


def test_a_model_that_reads_both_ways_has_no_next_token():
    model = hub.models.BertMaskedLM(
        hub.models.BertBackbone(num_heads=2, max_sequence_length=8, **SIZES), preprocessor=None
    )
    inputs = TEXT | {"segment_ids": SEGMENTS, "mask_positions": np.array([[1, 2], [1, 3]])}
    with pytest.raises(ValueError, match=r"A class target needs .*target.token\(position, class\)"):
        tfs.Gradient(model).explain(inputs)
    explanation = tfs.Gradient(model).explain(inputs, tfs.target.token(1))
    assert (explanation.values["token_ids"][0] > 0).sum() == 6


def test_texts_go_through_the_preprocessor_of_a_model():
    """What it says is followed."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film"]
    tokenizer = hub.models.BertTokenizer(vocabulary=words, lowercase=True)
    preprocessor = hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    backbone = hub.models.BertBackbone(num_heads=2, max_sequence_length=8, **SIZES)
    model = hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=preprocessor)
    texts = np.array(["a good film"])
    with pytest.raises(ValueError, match=r"its preprocessor makes of texts or pictures: model.preprocessor\(inputs\)"):
        tfs.Gradient(model).explain(texts, 1)
    explanation = tfs.Gradient(model).explain(model.preprocessor(texts), 1)
    np.testing.assert_array_equal(explanation.inputs["token_ids"][0], [2, 5, 6, 7, 3, 0, 0, 0])
    assert (explanation.values["token_ids"][0, :5] > 0).all() and not explanation.values["token_ids"][0, 5:].any()
