"""neurokit: define a spiking or edge network once, deploy it everywhere, spike for spike."""

from neurokit._version import __version__

__all__ = ["__version__"]
