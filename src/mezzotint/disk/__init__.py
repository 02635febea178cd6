"""All that lies on disk: model files, checkpoints, snapshots of averages, run directories, and their names."""
