"""Trained models beside the published figures, their cards, and giving them away."""
