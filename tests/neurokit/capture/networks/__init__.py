"""Small networks as people write them, each a factory: what they are captured and lowered from in test_networks.py."""
