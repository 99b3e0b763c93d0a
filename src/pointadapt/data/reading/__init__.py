"""From files of data sets to clouds."""
