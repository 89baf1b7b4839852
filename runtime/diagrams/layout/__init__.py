"""Compute positions of boxes, edges and labels."""
