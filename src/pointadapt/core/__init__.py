"""What every room uses and no point cloud is known to: errors, files, configurations, the machine."""
