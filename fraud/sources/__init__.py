"""Transaction files of any supported format, read as a stream of records through a column mapping."""
