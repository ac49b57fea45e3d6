"""Token mixers of a layer, one file each."""
