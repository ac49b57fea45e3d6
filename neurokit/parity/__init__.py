"""Verification: does a lowered model compute what its source computes?"""
