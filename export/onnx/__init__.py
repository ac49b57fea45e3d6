"""The ONNX graph: conversion, neuron functions, passes, quantisation and the probe."""
