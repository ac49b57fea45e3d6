"""Pictures of puppets for the tests of training, drawn once."""

import functools

import pytest


@pytest.fixture(autouse=True, scope="session")
def drawn_once():
    """Keeps what `render` made of the same arguments; every data set has a copy of its own."""
    from neurokit.data.puppets import shapes

    drawn = functools.cache(shapes.render)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "render", lambda *settings: tuple(array.copy() for array in drawn(*settings)))
        yield
