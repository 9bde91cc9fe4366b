"""Methods for sequences of letters, such as DNA."""

from tfsaliency.methods.sequences.mutagenesis import Mutagenesis

__all__ = ["Mutagenesis"]
