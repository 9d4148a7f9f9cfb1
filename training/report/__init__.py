"""The report on models as one HTML page that opens offline."""
