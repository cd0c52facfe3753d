"""Drawn sample scenes with known answers, and the data sets' layouts: writers, checks, what is missing.

numpy and PIL only; no model is built here.
"""
