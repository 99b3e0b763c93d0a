"""Whether the files of a data set are what they should be."""
