"""From a model and a folder of data to what to deploy: every form, here and on devices and chips, on one page."""

from neurokit.deploy.api import deploy

__all__ = ["deploy"]
