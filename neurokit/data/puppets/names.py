"""The 15 hand-shadow puppets of the HaSPeR data set, in the order of its folders."""

CLASSES = (
    "bird",
    "chicken",
    "cow",
    "crab",
    "deer",
    "dog",
    "elephant",
    "horse",
    "llama",
    "moose",
    "panther",
    "rabbit",
    "snail",
    "snake",
    "swan",
)
