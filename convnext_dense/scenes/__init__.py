"""Drawn sample scenes whose right answers are known. numpy and PIL only."""
