"""From recordings to stems, pitch tracks and the files that hold them."""
