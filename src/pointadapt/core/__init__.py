"""What every room uses, and what knows no point cloud: errors, files, options, the machine."""
