"""SpliceAI's five networks, as they lie in their package: donor sites in 10,400 letters of DNA."""

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import tfsaliency as tfs
from tests.harness import quick

BASES = "ACGT"
# The networks answer for what lies this far from both ends.
FLANK = 5000
SITE = 5200
DONOR = "CAGGTAAGT"
ACCEPTOR = "TTTTTTTTTTTCTTTTCAG"


def letters():
    """Random DNA with an exon: an acceptor, and 120 letters further a donor, whose intron begins at `SITE`."""
    text = np.random.default_rng(0).choice(list(BASES), size=10_400)
    text[SITE - 3 : SITE + 6] = list(DONOR)
    text[SITE - 120 - len(ACCEPTOR) : SITE - 120] = list(ACCEPTOR)
    return np.eye(4, dtype="float32")[[BASES.index(base) for base in text]][None]


@pytest.fixture(scope="module", params=quick(range(1, 6), 1))
def network(request):
    (package,) = find_spec("spliceai").submodule_search_locations
    return keras.models.load_model(Path(package) / "models" / f"spliceai{request.param}.h5", compile=False)


def test_the_donor_is_found_in_its_motif(network):
    """The end of the exon, the third of three classes; by pairs of letters that are shuffled, and by mutations."""
    x, last = letters(), SITE - 1 - FLANK
    said = network.predict(x, verbose=0)[0]
    assert said[:, 2].argmax() == last and said[last, 2] > 0.5
    target = tfs.target.token(last, 2)
    explanation = tfs.DeepLIFT(network, tfs.baselines.shuffled(samples=2)).explain(x, target)
    assert abs(explanation.diagnostics["completeness_gap"][0]) <= 1e-3
    at_places = explanation.map(tfs.transforms.onto_letters).values[0].sum(axis=-1)
    strongest = np.argsort(-np.abs(at_places))[:6]
    # The other end of the exon is evidence too: one network of the five counts it among the six.
    donor, acceptor = range(SITE - 3, SITE + 6), range(SITE - 120 - len(ACCEPTOR), SITE - 120)
    assert set(strongest) <= {*donor, *acceptor} and len(set(strongest) & set(donor)) >= 5
    near = slice(SITE - 5, SITE + 8)
    changes = tfs.Mutagenesis(network, near.start, near.stop).explain(x, target).values[0, near]
    importance = -changes.sum(axis=-1) / 3
    assert np.corrcoef(at_places[near], importance)[0, 1] > 0.8
