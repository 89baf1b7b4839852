"""The blocks and tables of the documentation's pages."""
