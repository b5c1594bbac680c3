"""Generated data sets with exact masks: every class here is a :class:`gains.data.source.Source`."""
