"""A network that has learnt the digits, trained once for all tests of the exact form."""

import pytest

from neurokit.models.spiking_cnn.train import train_digits


@pytest.fixture(scope="session")
def trained():
    """The module, in evaluation mode, and its accuracy on the held-out digits."""
    return train_digits(seconds=60, epochs=6)
