"""The plugin of napari: layers are counted, looked at, corrected and kept as examples."""
