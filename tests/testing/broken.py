"""The register of what is broken in one way each."""


def registering_in(register):
    """A decorator with the name of the check that finds what is broken, and a part of what the check says."""

    def breaks(name, message):
        def add(broken):
            register[f"{name}: {broken.__name__}"] = name, broken, message
            return broken

        return add

    return breaks
