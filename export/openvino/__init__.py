"""ONNX artifacts on OpenVINO: sessions, runner and probe, and int8 through NNCF."""
